"""kdbench's conformance checks as pytest tests, one for each method and check.

from kdbench.testing import parametrize_with_checks

@parametrize_with_checks(["my_method"])
def test_my_method(method, check):
check(method)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import pytest

from kdbench.checks import checks_of, run_check
from kdbench.errors import KdbenchError, did_you_mean
from kdbench.method import Method
from kdbench.plugins import load_method

__all__ = ["parametrize_with_checks"]


def parametrize_with_checks(
    methods: Sequence[str | type[Method]], expected_failed_checks: Mapping[str, str] | None = None
) -> pytest.MarkDecorator:
    """A decorator for a test that takes `method` and `check` and calls `check(method)`.

    Args:
        methods: registered names, or classes.
        expected_failed_checks: reasons by the name of a check that these methods honestly fail; such a test must fail.

    Raises:
        KdbenchError: a reason for a check that does not exist, or no such method.
    """
    if isinstance(methods, str):
        raise KdbenchError(f"parametrize_with_checks takes a list of methods: ['{methods}'].")
    parameters = []
    for method in methods:
        cls = load_method(method) if isinstance(method, str) else method
        expected = {**cls.expected_failed_checks, **(expected_failed_checks or {})}
        known = checks_of(cls)
        for name in expected:
            if name not in known:
                raise KdbenchError(f"expected_failed_checks: no check '{name}'.{did_you_mean(name, known)}")
        for name in known:
            marks = [pytest.mark.xfail(reason=expected[name], strict=True)] if name in expected else []
            parameters.append(pytest.param(cls, partial(run_check, check=name), id=f"{cls.name}-{name}", marks=marks))
    return pytest.mark.parametrize(("method", "check"), parameters)
