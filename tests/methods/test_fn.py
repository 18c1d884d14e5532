"""FN: the norm of a feature is its temperature."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from kdbench import NotApplicable, Outputs
from kdbench_methods.fn import FN, normalised
from tests.methods.small import small_setup


def outputs(role: str, random: Callable[..., Tensor], size: int, seed: int) -> Outputs:
    return Outputs(role, logits=random(size, 3, seed=seed), embedding=3 * random(size, 4, seed=seed + 1))


class Classifier(nn.Module):
    """A network that is a classifier of three classes with this bias, or has none at all."""

    def __init__(self, bias: list[float] | None) -> None:
        super().__init__()
        self.fc: Any = nn.Identity() if bias is None else nn.Linear(4, 3, dtype=torch.float64)
        if bias is not None:
            self.fc.bias = nn.Parameter(torch.tensor(bias, dtype=torch.float64))

    def get_classifier(self) -> Any:
        return self.fc


def made(student: Classifier, teacher: Classifier, **params: float) -> FN:
    method = FN(FN.Params(**params))
    method.build(small_setup(student_network=student, teacher_network=teacher))
    return method


def test_the_loss_equals_loops_over_images(batch_of: Callable, random: Callable) -> None:
    student, teacher = outputs("student", random, 5, 0), outputs("teacher", random, 5, 2)
    networks = [Classifier([0.1, -0.2, 0.3]), Classifier([1.0, 0.0, -2.0])]
    biases = {id(o): n.fc.bias.tolist() for o, n in zip((student, teacher), networks, strict=True)}

    def probabilities(network: Outputs, i: int) -> list[float]:
        length = math.sqrt(sum(v**2 for v in network.embedding[i].tolist()))
        pairs = zip(network.logits[i].tolist(), biases[id(network)], strict=True)
        scaled = [(z - b) * min(length, 1.5) / length + b for z, b in pairs]
        return [math.exp(z) / sum(map(math.exp, scaled)) for z in scaled]

    total = 0.0
    for i in range(5):
        p_s, p_t = probabilities(student, i), probabilities(teacher, i)
        total -= sum(t * math.log(s) for s, t in zip(p_s, p_t, strict=True)) / 5
    terms = made(*networks, length=1.5, normalised_weight=4.0).loss(batch_of(5), student, teacher)
    assert terms["normalised"].item() == pytest.approx(4 * total, rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(1, 100))
def test_logits_of_a_linear_classifier_do_not_see_how_long_a_long_feature_is(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    classifier = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    f = torch.randn(6, 4, dtype=torch.float64, generator=generator)
    f = f / f.norm(dim=1, keepdim=True)
    bias = torch.randn(3, dtype=torch.float64, generator=generator)
    long = 2 * scale * f @ classifier + bias
    assert torch.allclose(normalised(long, 2 * scale * f, bias, 2.0), 2 * f @ classifier + bias)
    assert torch.allclose(normalised(f @ classifier + bias, f, bias, 2.0), f @ classifier + bias)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_the_students_own_logits_are_the_cheapest_in_any_order_of_the_batch(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    s, t, e_s, e_t = torch.randn(4, 6, 5, dtype=torch.float64, generator=generator)
    order = torch.randperm(6, generator=generator)

    def loss(n_s: Tensor, n_t: Tensor) -> float:
        return torch.nn.functional.cross_entropy(n_s, n_t.softmax(dim=1)).item()

    n_s, n_t = normalised(s, e_s, torch.zeros(5), 2.0), normalised(t, e_t, torch.zeros(5), 2.0)
    assert loss(n_t, n_t) <= loss(n_s, n_t)
    assert loss(n_s[order], n_t[order]) == pytest.approx(loss(n_s, n_t), rel=1e-9)


def test_a_feature_of_zeros_has_a_gradient() -> None:
    embedding = torch.zeros(1, 4, requires_grad=True)
    normalised(torch.ones(1, 3, requires_grad=True), embedding, torch.zeros(3), 2.0).square().sum().backward()
    assert embedding.grad is not None
    assert embedding.grad.isfinite().all()


def test_the_students_bias_learns_and_stays_the_students(batch_of: Callable, random: Callable) -> None:
    student, teacher = Classifier([0.1, -0.2, 0.3]), Classifier([1.0, 0.0, -2.0])
    method = made(student, teacher)
    assert not list(method.parameters())
    terms = method.loss(batch_of(5), outputs("student", random, 5, 0), outputs("teacher", random, 5, 2))
    terms["normalised"].backward()
    assert student.fc.bias.grad.any()
    assert teacher.fc.bias.grad is None


def test_a_network_without_a_linear_classifier_is_not_applicable() -> None:
    with pytest.raises(NotApplicable, match="the teacher has no single linear classifier"):
        made(Classifier([0.0, 0.0, 0.0]), Classifier(None))
