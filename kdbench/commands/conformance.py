"""The conformance checks of a method that is submitted, whose outcome its records carry."""

from __future__ import annotations

import functools

from kdbench.errors import KdbenchError


def conformance(method: str) -> dict[str, str]:
    """The outcome of each check, "passed" or "expected" (a failure that the method declares).

    Raises:
        KdbenchError: a check fails; names the first one, which is to be mended first.
    """
    from kdbench.plugins import load_method
    from kdbench.source import source_sha256

    return dict(checked(method, source_sha256(load_method(method))))


@functools.cache
def checked(method: str, source: str) -> tuple[tuple[str, str], ...]:
    """The same, once for a source."""
    from kdbench.checks import check_method

    found = list(check_method(method))
    if failed := [result for result in found if not result.is_fine]:
        more = f" ({len(failed) - 1} more)" if len(failed) > 1 else ""
        raise KdbenchError(
            f"'{method}' does not pass {failed[0].check}: {failed[0].message.rstrip('.')}{more}. "
            f"All of it: kdbench check {method}"
        )
    return tuple((result.check, result.outcome) for result in found)
