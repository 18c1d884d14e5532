"""What a method does wrong while it runs is told as advice."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kdbench.method import Batch, Method, Outputs, Shapes
from kdbench.training.contract import check_state, check_terms

GRADIENT = torch.zeros((), requires_grad=True)


class Mine(Method):
    """A method without state."""

    name = "mine"

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {}


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (torch.zeros(()), "must return a dict of named terms, not Tensor"),
        ({}, "returned no terms"),
        ({"a": 0.5}, "'a' is a float; keep it a tensor"),
        ({"a": torch.zeros(64, 10)}, r"has shape \(64, 10\).* reduce it"),
        ({"a": torch.zeros((), dtype=torch.int64)}, "torch.int64"),
        ({"loss": GRADIENT * 1}, "reserved"),
        ({"b": GRADIENT * 1}, "return the same ones in every step"),
        ({"a": torch.zeros(())}, "no term depends on the student"),
    ],
)
def test_terms_of_another_form_are_advice(terms: object, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        check_terms("mine", terms, ["a"] if isinstance(terms, dict) and "b" in terms else [])


def test_good_terms_pass() -> None:
    check_terms("mine", {"a": GRADIENT * 2, "b": torch.zeros(())}, ["a", "b"])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([nn.Parameter(torch.zeros(2))], "mine.thing hides a Parameter that is not trained: use nn.ModuleList"),
        ({"deep": [nn.Linear(2, 2)]}, "hides a Linear"),
        (torch.zeros(3), r"use self.register_buffer\('thing'"),
        (torch.Generator(), "use setup.generator"),
    ],
)
def test_state_that_would_be_lost_is_advice(value: object, said: str) -> None:
    method = Mine(Mine.Params())
    method.thing = value  # type: ignore[assignment]
    with pytest.raises(TypeError, match=said):
        check_state(method, torch.Generator(), nn.Linear(1, 1))


def test_registered_state_passes() -> None:
    method, generator = Mine(Mine.Params()), torch.Generator()
    method.layers = nn.ModuleList([nn.Linear(2, 2)])
    method.register_buffer("bank", torch.zeros(3))
    method.generator, method.width = generator, [1, 2]  # type: ignore[assignment]
    check_state(method, generator, nn.Linear(1, 1))


def test_an_output_that_was_not_required_or_does_not_exist_is_advice() -> None:
    outputs = Outputs("teacher", logits=torch.zeros(2, 3))
    with pytest.raises(AttributeError, match=r"add 'teacher.embedding' to `requires`"):
        _ = outputs.embedding
    with pytest.raises(AttributeError, match=r"teacher has no output 'logit'. Did you mean 'logits'"):
        _ = outputs.logit
    with pytest.raises(AttributeError, match=r"add 'student.features' to `requires`"):
        _ = Shapes("student", embedding=4).features
