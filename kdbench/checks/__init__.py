"""Conformance checks for methods: what every method must keep to, each breach as a sentence of advice.

`kdbench check METHOD` runs them all; `kdbench.testing.parametrize_with_checks` makes pytest tests of them.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from kdbench.checks import declaration, devices, distilling, gradients, honesty, numbers, recipe, repetition
from kdbench.checks.bench import Bench, CheckFailed
from kdbench.errors import KdbenchError, NotApplicable, did_you_mean
from kdbench.method import Method
from kdbench.plugins import load_method
from kdbench.source import roots, with_imports
from kdbench.training.guard import RecipeBroken

# In the order in which to mend them: what a later one finds may be the doing of what an earlier one found.
CHECKS: tuple[Callable[[Bench], None], ...] = (
    declaration.says_what_it_is,
    declaration.describes_its_params,
    declaration.rejects_bad_params,
    numbers.returns_terms,
    honesty.reads_what_it_requires,
    honesty.leaves_its_inputs_alone,
    recipe.declares_changed_images,
    recipe.keeps_to_the_recipe,
    recipe.deploys_what_it_trained,
    declaration.evaluates_its_networks,
    honesty.sees_no_test_data,
    honesty.sees_no_data_if_it_is_free_of_them,
    gradients.gives_finite_gradients,
    gradients.trains_every_parameter,
    gradients.uses_every_weight,
    gradients.leaves_the_teacher_alone,
    numbers.takes_any_batch,
    numbers.averages_over_the_batch,
    numbers.stays_finite,
    numbers.survives_half_precision,
    numbers.never_waits_for_the_device,
    devices.runs_on_a_gpu,
    repetition.draws_from_its_generator,
    repetition.keeps_state_in_buffers,
    repetition.repeats_itself,
    repetition.goes_on_where_it_stopped,
)
NAMES = {check.__name__: check for check in CHECKS}
OF_DATA: tuple[Callable[[Bench], None], ...] = (  # of methods that distil data, none of which trains a student
    declaration.says_what_it_is,
    declaration.describes_its_params,
    declaration.rejects_bad_params,
    distilling.makes_its_images,
    distilling.leaves_training_images_alone,
    distilling.distils_the_same_again,
    distilling.goes_on_with_its_images,
)
NAMES_OF_DATA = {check.__name__: check for check in OF_DATA}


@dataclass(frozen=True)
class Result:
    """What one check found.

    Attributes:
        outcome: "passed"; "failed"; "expected", a failure that the method declares; "unexpected", its absence;
            "waiting", where it fails as an earlier check did and may pass once that is mended.
        message: the advice, or the declared reason; of a check that waits, the other's name.
    """

    check: str
    outcome: Literal["passed", "failed", "expected", "unexpected", "waiting"]
    message: str = ""

    @property
    def is_fine(self) -> bool:
        return self.outcome in ("passed", "expected")


def checks_of(cls: type[Method]) -> dict[str, Callable[[Bench], None]]:
    """The checks that a method is held to, by name."""
    distils = isinstance(cls, type) and issubclass(cls, Method) and cls.distils_data()
    return NAMES_OF_DATA if distils else NAMES


def run_check(method: str | type[Method], check: str) -> None:
    """Run one check.

    Args:
        method: a registered name, or a class.

    Raises:
        CheckFailed: the method breaks it; the message says what to do.
        KdbenchError: no such method or check.
    """
    cls = load_method(method) if isinstance(method, str) else method
    if check not in (known := checks_of(cls)):
        raise KdbenchError(f"No check '{check}'.{did_you_mean(check, known)}")
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            known[check](Bench(cls))
        except (CheckFailed, KdbenchError):
            raise
        except RecipeBroken as error:
            raise CheckFailed(f"{error}.") from error
        except NotApplicable as reason:
            said = f"the method applies to no pair of one family that the checks have: {reason}."
            raise CheckFailed(said) from reason
        except Exception as error:  # whatever the method does wrong
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise CheckFailed(f"{where_it_failed(cls, error)}: {said}") from error


def where_it_failed(cls: type[Method], error: BaseException) -> str:
    """Which hook failed, and the line of the method's own code that did."""
    files = {str(path) for path in with_imports(roots(cls)).values()}
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    if not own:
        return "build or loss fails"
    return f"{own[0].name} fails ({Path(own[-1].filename).name}, line {own[-1].lineno})"


def check_method(method: str | type[Method], expected_failed_checks: dict[str, str] | None = None) -> Iterator[Result]:
    """Run all checks, one after the other.

    Args:
        expected_failed_checks: reasons by the name of a check; beside those that the class declares.

    Raises:
        KdbenchError: no such method, or a reason for a check that does not exist.
    """
    cls = load_method(method) if isinstance(method, str) else method
    expected, known = {**getattr(cls, "expected_failed_checks", {}), **(expected_failed_checks or {})}, checks_of(cls)
    for name in expected:
        if name not in known:
            raise KdbenchError(f"expected_failed_checks of '{cls.name}': no check '{name}'.{did_you_mean(name, known)}")
    told: dict[str, str] = {}
    for name in known:
        try:
            run_check(cls, name)
        except CheckFailed as failure:
            if name in expected:
                yield Result(name, "expected", expected[name])
            elif (cause := told.setdefault(str(failure), name)) != name:
                yield Result(name, "waiting", f"for {cause}")
            else:
                yield Result(name, "failed", str(failure))
        else:
            passed = "passes now: take it out of expected_failed_checks."
            yield Result(name, "unexpected", passed) if name in expected else Result(name, "passed")
