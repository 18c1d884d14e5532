"""The checks pass the methods that ship; each has one that it catches, in the test of its module."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from kdbench import Field, Method
from kdbench.checks import NAMES, Result, check_method, run_check
from kdbench.commands.check import summary
from kdbench.errors import KdbenchError
from kdbench.plugins import list_plugins
from kdbench.testing import parametrize_with_checks
from tests.kdbench.checks import (
    honest,
    test_declaration,
    test_deployed,
    test_devices,
    test_gradients,
    test_honesty,
    test_numbers,
    test_recipe,
    test_repetition,
)
from tests.kdbench.checks.good import Good

BUILT_IN = sorted(name for name, [plugin, *_] in list_plugins().items() if plugin.distribution == "kdbench")


@parametrize_with_checks(BUILT_IN)
def test_every_method_that_ships_passes(method: type[Method], check: Callable[[type[Method]], None]) -> None:
    check(method)


def test_each_check_has_a_method_that_it_catches() -> None:
    told = (test_declaration, test_deployed, test_devices, test_gradients, test_honesty)
    modules = (*told, test_numbers, test_recipe, test_repetition)
    assert {check for module in modules for _, check, _ in module.BROKEN} == set(NAMES)


def test_the_unbroken_method_passes_all() -> None:
    assert [result for result in check_method(Good) if result.outcome != "passed"] == []


@pytest.mark.parametrize(
    "cls", [honest.OwnBuffers, honest.MeanTeacher, honest.ClassAttention, honest.StrongViews, honest.NamesOfClasses]
)
def test_an_honest_method_passes_all_without_tricks(cls: type[Method]) -> None:
    assert [result for result in check_method(cls) if result.outcome != "passed"] == []


def test_an_expected_failure_is_known_and_its_absence_is_not_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: NAMES[name] for name in ("never_waits_for_the_device", "repeats_itself")}
    monkeypatch.setattr("kdbench.checks.NAMES", few)
    excused = {"never_waits_for_the_device": "a mask is natural here"}
    results = {r.check: r for r in check_method(test_numbers.BooleanMask, excused)}
    assert results["never_waits_for_the_device"].outcome == "expected"
    assert results["never_waits_for_the_device"].is_fine
    stale = {r.check: r for r in check_method(Good, {"repeats_itself": "it did not once"})}
    assert not stale["repeats_itself"].is_fine
    with pytest.raises(KdbenchError, match="Did you mean 'repeats_itself'"):
        list(check_method(Good, {"repeat_itself": "?"}))


def test_the_summary_counts_excused_checks_apart() -> None:
    passed, excused, failed = Result("a", "passed"), Result("b", "expected", "why"), Result("c", "failed", "mend it")
    assert summary([passed, passed]) == "all 2 checks passed"
    assert summary([passed, excused]) == "1 of 2 checks passed, 1 known to fail (b)"
    assert summary([passed, excused, failed]) == "1 of 3 checks failed, 1 known to fail (b)"


def test_checks_leave_the_global_generator_as_it_was() -> None:
    before = torch.get_rng_state()
    run_check(Good, "repeats_itself")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_crash_is_told_once_and_what_waits_for_it_says_so() -> None:
    found = list(check_method(test_numbers.CrashesInBuild))
    [failed] = [result for result in found if result.outcome == "failed"]
    assert failed.check == "returns_terms"
    assert failed.message.endswith("RuntimeError: the blocks do not fit")
    waiting = [result for result in found if result.outcome == "waiting"]
    assert len(waiting) > len(NAMES) / 2
    assert {result.message for result in waiting} == {"for returns_terms"}
    assert "1 of " in summary(found)
    assert f"{len(waiting)} wait" in summary(found)


def test_what_follows_from_a_term_that_is_no_tensor_waits_for_it() -> None:
    found = {result.check: result for result in check_method(test_numbers.ReadsTheLoss)}
    failed = [name for name, result in found.items() if result.outcome == "failed"]
    assert failed == ["returns_terms", "never_waits_for_the_device", "runs_on_a_gpu"]
    assert "keep it a tensor, without .item()" in found["returns_terms"].message
    assert found["gives_finite_gradients"] == Result("gives_finite_gradients", "waiting", "for returns_terms")


def test_a_default_out_of_its_range_is_told_once_in_words() -> None:
    class OutOfRange(Good):
        class Params(Method.Params):
            gap_weight: float = Field(-1.0, ge=0, description="weight of the gap")

    [failed] = [result for result in check_method(OutOfRange) if result.outcome == "failed"]
    assert failed.check == "says_what_it_is"
    assert "parameter gap_weight: input should be greater than or equal to 0, not -1.0." in failed.message


def test_what_is_to_be_mended_first_is_told_first() -> None:
    found = check_method(test_honesty.RequiresTooLittle)
    first = next(result for result in found if result.outcome == "failed")
    assert "add 'teacher.logits' to `requires`" in first.message
