"""The suite's SGD, with momenta of their own for some terms of the loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdbench.checks.bench import Bench
from kdbench.errors import NotApplicable
from kdbench.plugins import load_method
from kdbench.suites import load_suite
from kdbench.training.contract import check_shifts, check_terms
from kdbench.training.guard import RecipeBroken, StepWatch
from kdbench.training.optimizer import build_optimizer, clip, differentiate, optimizer_tensors
from tests.conftest import golden

RECIPE = load_suite("digits").recipe_of()
SHIFTS = {"ce": -0.075, "kd": 0.075}
# megvii-research/mdistiller, mdistiller/engine/dot.py, commit a08d46f: DistillationOrientedTrainer, run in float64
AUTHORS = [
    [0.06749026457625737, 0.24751576170872475, 0.45346705754659966, 0.6307672688398005],
    [0.6450779916317642, 0.5420720528854637, 0.9773281229763945, 1.239667101380202],
    [-0.23599739315579543, 0.4203292683364096, -0.615894333402011, -1.3214691217861962],
]


def train(
    shifts: dict[str, float], gradients: list[dict[str, Tensor]], length: float | None = None, **recipe: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    """A (3, 4) weight after a step on each of some gradients by term, and the optimizer's state."""
    weight, rate = nn.Parameter(golden([3, 4], 0.37, 0.1)), torch.tensor(0.1, dtype=torch.float64)
    optimizer = build_optimizer(RECIPE.model_copy(update=recipe), [weight], rate, shifts)
    for step, by_term in enumerate(gradients):
        rate.fill_(0.1 / (step + 1))
        terms = {name: (weight * gradient).sum() for name, gradient in by_term.items()}
        differentiate(optimizer, terms, torch.stack([*terms.values()]).sum())
        if length is not None:
            clip(optimizer, [weight], length)
        optimizer.step()
    return weight.detach(), optimizer_tensors(optimizer, [weight])


def steps(count: int = 4) -> list[dict[str, Tensor]]:
    return [{"kd": golden([3, 4], 0.5, 0.3 * s), "ce": golden([3, 4], 0.3, 0.2 * s)} for s in range(count)]


def test_terms_with_momenta_of_their_own_are_stepped_as_dots_authors_do() -> None:
    weight, state = train(SHIFTS, steps())
    assert torch.allclose(weight, torch.tensor(AUTHORS, dtype=torch.float64), rtol=1e-12)
    assert set(state) == {"optimizer.0.ce.momentum_buffer", "optimizer.0.kd.momentum_buffer"}


@pytest.mark.parametrize("length", [None, 0.5])
@pytest.mark.parametrize("nesterov", [False, True])
def test_equal_momenta_are_the_suites_own_step(nesterov: bool, length: float | None) -> None:
    split, _ = train({"ce": 0.0, "kd": 0.0}, steps(), length, nesterov=nesterov)
    whole, _ = train({}, steps(), length, nesterov=nesterov)
    assert torch.allclose(split, whole, rtol=1e-10)


def test_one_momentum_of_its_own_is_every_terms() -> None:
    alone, _ = train({"kd": 0.05}, steps())
    assert torch.allclose(alone, train({}, steps(), momentum=RECIPE.momentum + 0.05)[0])


def test_terms_that_are_not_named_are_with_the_first() -> None:
    given = steps()
    apart = [{"kd": g["kd"], "ce": g["ce"] / 4, "other": 3 * g["ce"] / 4} for g in given]
    assert torch.allclose(train(SHIFTS, apart)[0], train(SHIFTS, given)[0])


def test_a_weight_that_one_term_reaches_decays_all_the_same() -> None:
    weights = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))]
    recipe = RECIPE.model_copy(update={"weight_decay": 0.5})
    optimizer = build_optimizer(recipe, weights, torch.tensor(0.1), SHIFTS)
    terms = {"ce": weights[0].sum(), "kd": weights[0].sum() + 0 * weights[1].sum()}
    differentiate(optimizer, terms, torch.stack([*terms.values()]).sum())
    assert weights[0].grad is not None
    assert weights[0].grad.tolist() == [2, 2]
    assert weights[2].grad is None
    optimizer.step()
    assert [weight[0].item() for weight in weights] == pytest.approx([1 - 0.1 * 2.5, 1 - 0.1 * 0.5, 1])


@pytest.mark.parametrize(
    ("recipe", "said"),
    [({"optimizer": "adamw"}, "the suite's optimizer is adamw"), ({"momentum": 0.95}, "that of 'kd' is 1.025")],
)
def test_recipes_without_such_momenta_do_not_apply(recipe: dict[str, Any], said: str) -> None:
    check_shifts({}, RECIPE.model_copy(update=recipe))
    with pytest.raises(NotApplicable, match=said):
        check_shifts(SHIFTS, RECIPE.model_copy(update=recipe))


def test_a_term_that_is_not_there_has_no_momentum() -> None:
    terms = {"ce": torch.zeros((), requires_grad=True) * 1}
    with pytest.raises(TypeError, match=r"mine\.momentum_shifts names 'kd'"):
        check_terms("mine", terms, [], SHIFTS)


@pytest.mark.parametrize(("key", "value"), [("momentum", 0.5), ("weight_decay", 0.9)])
def test_other_momenta_than_declared_are_refused(key: str, value: float) -> None:
    trainer = Bench(load_method("dot")).trainer()
    trainer.begin(trainer.stages[-1])
    feed = trainer.feed(0)
    for i in range(2):
        batch = trainer.batch(feed, i)
        trainer.step(batch, StepWatch(trainer.guard, batch))
    trainer.optimizer.param_groups[1][key] = value
    with pytest.raises(RecipeBroken, match="changes how the student's weights are stepped"):
        trainer.step(batch, StepWatch(trainer.guard, batch))


def test_the_record_says_which_terms_have_momenta_of_their_own() -> None:
    trainer = Bench(load_method("dot")).trainer()
    assert trainer.guard.declared == [
        "the gradients of 'ce' have a momentum of their own: 0.825",
        "the gradients of 'kd' have a momentum of their own: 0.975",
    ]
    trainer.next_epoch()
    forward, backward = trainer.spending.passes["student"]
    assert backward == 2 * forward
