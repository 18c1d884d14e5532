"""Every method's objective and its gradients equal those of its authors' code on the same tensors."""

from __future__ import annotations

import pytest

from kdbench.plugins import list_plugins, load_method
from tests.methods.golden import Case, cases, run
from tests.methods.golden_without_data import run_without_data

# no authors' code can be had or run: each one's docstring says what it was compared with
SECOND_HAND = {
    # online and self
    "ban",
    "kdcl",
    # responses and relations
    "anc",
    "label_smoothing",
    "logits_mse",
}
CONTROLS = {"joint", "vanilla", "random_teacher", "shuffled_logits"}  # kdbench's own
DISTILLING = {"dc", "dm", "dsa", "herding", "random_images"}  # have no loss of a student: test_distilling_methods


def named() -> list[tuple[str, int, Case]]:
    counted: dict[str, int] = {}
    found = []
    for method, case in cases():
        counted[method] = counted.get(method, 0) + 1
        found.append((method, counted[method], case))
    return found


@pytest.mark.parametrize(("method", "case"), [pytest.param(m, c, id=f"{m}-{k}") for m, k, c in named()])
def test_the_whole_objective_equals_the_originals(method: str, case: Case) -> None:
    cls = load_method(method)
    found = run_without_data(cls, case) if cls.is_data_free() else run(cls, case)
    terms = {"total": sum(found.terms.values())} if set(case["terms"]) == {"total"} else found.terms
    assert terms == pytest.approx(case["terms"], rel=1e-6)
    expected = case["gradients"]
    weights = {**found.weights, "weights": sum(norm**2 for norm in found.weights.values()) ** 0.5}
    reached = {name: norm for name, norm in found.outputs.items() if norm > 0 or name in expected}
    listed = {name: norm for name, norm in weights.items() if name in expected}
    assert reached | listed == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("method", "case"), [pytest.param(m, c, id=f"{m}-{k}") for m, k, c in named()])
def test_a_golden_value_says_where_it_comes_from(method: str, case: Case) -> None:
    source = case["source"]
    assert set(source) == {"repository", "commit", "files"}
    assert len(source["commit"]) == 40
    assert source["repository"].count("/") == 1
    assert source["files"]
    assert case["how"].endswith(".")


def test_a_method_without_golden_values_says_that_it_is_known_second_hand() -> None:
    for name in SECOND_HAND:
        assert "known second hand" in " ".join((load_method(name).__doc__ or "").split()).lower()


def test_every_method_is_in_one_list_alone() -> None:
    kinds = [{method for method, _ in cases()}, SECOND_HAND, CONTROLS, DISTILLING]
    own = {name for name, plugins in list_plugins().items() if plugins[0].distribution == "kdbench"}
    assert set().union(*kinds) == own
    assert sum(map(len, kinds)) == len(own)
