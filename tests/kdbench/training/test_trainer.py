"""The loop: its schedule, its data, its exactness, and what it keeps from a method."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kdbench.checks.bench import Bench
from kdbench.data.small import load_data
from kdbench.method import Batch, Method, Outputs
from kdbench.plugins import load_method
from kdbench.running.plan import Cell, plan_cells
from kdbench.running.prepare import load_teachers, prepare
from kdbench.running.teachers import find_teacher
from kdbench.schedule import evaluated, evaluations, learning_rate
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Recipe
from kdbench.training.capture import Compiled
from kdbench.training.trainer import Diverged, Trainer

CPU = torch.device("cpu")


def one_cell(suite: Suite, method: str, student: str = "resnet8_w4", seed: int = 0) -> Cell:
    pair = next(pair for pair in suite.pairs if pair.student == student)
    teacher = find_teacher(suite, pair.teacher, None, print)
    assert teacher is not None
    [cell] = plan_cells(suite, {method: {}}, [pair], [seed], {pair.teacher: teacher})
    return cell


def make(suite: Suite, method: str, **place: object) -> Trainer:
    torch.set_num_threads(1)
    cell = one_cell(suite, method, **place)  # type: ignore[arg-type]
    return prepare(cell, load_data(cell.suite.data), load_teachers(cell), CPU)[0]


@pytest.fixture
def short(digits: Suite) -> Suite:
    return digits.with_epochs(4)


@pytest.mark.parametrize("epochs", [3, 30])
def test_one_cycle_equals_pytorchs(epochs: int, digits: Suite) -> None:
    recipe = digits.recipe_of().model_copy(update={"epochs": epochs})
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=epochs * 16, cycle_momentum=False
    )
    for step in range(epochs * 16):
        assert learning_rate(recipe, step, 16) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        if step < epochs * 16 - 1:
            schedule.step()


def test_multistep_drops_after_each_milestone(digits: Suite) -> None:
    recipe: Recipe = digits.recipe_of().model_copy(update={"schedule": "multistep", "milestones": (2, 4)})
    rates = [learning_rate(recipe, epoch * 10, 10) for epoch in range(6)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_all_methods_see_the_same_batches_from_the_same_weights(short: Suite) -> None:
    seen: dict[str, list[Batch]] = {}
    for method in ("vanilla", "crd"):
        trainer = make(short, method)
        weights = torch.cat([p.detach().flatten() for p in trainer.student.parameters()])
        seen[method] = []
        original = trainer.method.loss

        def watch(batch: Batch, student: Outputs, teacher: Outputs, method: str = method, original=original):  # type: ignore[no-untyped-def]
            seen[method].append(batch)
            return original(batch, student, teacher)

        trainer.replan([replace(trainer.stage, loss=watch)])
        trainer.train_epoch(0)
        seen.setdefault("weights", []).append(weights)  # type: ignore[arg-type]
    one, other = seen.pop("weights")
    assert torch.equal(one, other)  # type: ignore[arg-type]
    for a, b in zip(seen["vanilla"], seen["crd"], strict=True):
        assert torch.equal(a.index, b.index)
        assert torch.equal(a.images, b.images)


def test_an_epoch_keeps_the_last_short_batch_and_counts_steps(short: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, batches = make(short, "vanilla"), []
    original = trainer.step
    monkeypatch.setattr(trainer, "step", lambda batch, *watch: batches.append(batch) or original(batch, *watch))
    trainer.train_epoch(1)
    assert [len(batch.labels) for batch in batches] == [64] * 4 + [44]
    assert sorted(torch.cat([batch.index for batch in batches]).tolist()) == list(range(300))
    assert [batch.step.item() for batch in batches] == list(range(5, 10))
    assert batches[0].epoch.item() == 1
    assert batches[0].progress.item() == 0.25
    assert torch.equal(batches[3].labels, trainer.labels[batches[3].index])


def test_the_same_cell_twice_is_bit_equal(short: Suite, tmp_path: Path) -> None:
    first, second = make(short, "crd"), make(short, "crd")
    for i, trainer in enumerate((first, second)):
        torch.randn(i)  # what was drawn before does not matter
        trainer.train(tmp_path / f"{i}")
    assert first.curve == second.curve
    assert torch.equal(first.predict(), second.predict())


@pytest.mark.parametrize("method", ["vanilla", "fitnets", "crd"])
@pytest.mark.parametrize("stop_after", [1, 3])
def test_an_interrupted_training_ends_bit_equal(
    method: str, stop_after: int, short: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(short, method)
    whole.train(tmp_path / "whole")
    monkeypatch.setattr("kdbench.training.rhythm.CHECKPOINT_EVERY", 0.0)
    monkeypatch.setattr("kdbench.training.rhythm.CHECKPOINT_SHARE", 1e9)

    def stop(epochs_done: int, epochs: int, loss: float | None) -> None:
        if epochs_done == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(short, method).train(tmp_path / "cut", stop)
    torch.randn(5)
    resumed = make(short, method)
    resumed.restore(tmp_path / "cut")
    assert resumed.epochs_done == stop_after
    resumed.train(tmp_path / "cut")
    assert resumed.curve == whole.curve
    assert torch.equal(resumed.predict(), whole.predict())
    state, expected = resumed.method.state_dict(), whole.method.state_dict()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_the_teacher_gets_no_gradient_and_does_not_change(short: Suite) -> None:
    trainer = make(short, "fitnets")
    assert trainer.read_teacher is not None
    teacher = trainer.read_teacher.model
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    trainer.train_epoch(0)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert not teacher.training
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())


@pytest.mark.parametrize("method", ["fitnets", "crd"])
def test_what_a_method_brings_is_trained(method: str, short: Suite) -> None:
    trainer = make(short, method)
    before = {name: value.clone() for name, value in trainer.method.named_parameters()}
    assert before
    trainer.train_epoch(0)
    assert all(not torch.equal(value, before[name]) for name, value in trainer.method.named_parameters())


@pytest.mark.parametrize("student", ["resnet8_w4", "vit_w32"])
@pytest.mark.parametrize("method", ["vanilla", "kd", "fitnets", "at", "crd"])
def test_every_method_learns_on_a_convolutional_and_a_transformer_student(
    method: str, student: str, digits: Suite, tmp_path: Path
) -> None:
    trainer = make(digits.with_epochs(8), method, student=student)
    trainer.train(tmp_path / "c")
    assert trainer.curve["ce"][-1] < trainer.curve["ce"][0]
    assert all(math.isfinite(value) for values in trainer.curve.values() for value in values)


def test_a_loss_that_is_not_finite_names_its_terms(short: Suite) -> None:
    trainer = make(short, "vanilla")
    original = trainer.method.loss

    def bad(batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, torch.Tensor]:
        return original(batch, student, teacher) | {"bad": student.logits.sum() * math.nan}

    trainer.replan([replace(trainer.stage, loss=bad)])
    with pytest.raises(Diverged, match=r"not finite in step 1 of epoch 1: 'ce' is 2[.]\d+, 'bad' is nan"):
        trainer.train_epoch(0)


def test_long_gradients_are_cut_to_the_recipes_length(digits: Suite) -> None:
    clipped = {"resnet8_w4": {"clip_norm": 0.5, "momentum": 0.0, "weight_decay": 0.0}}
    recipe = digits.recipe.model_copy(update={"students": clipped})
    trainer = make(digits.model_copy(update={"recipe": recipe}), "kd")
    before = [p.detach().clone() for p in trainer.parameters]
    feed = trainer.feed(0)
    trainer.student.train()
    trainer.step_at(feed, 0)
    moved = torch.cat([(p.detach() - b).flatten() for p, b in zip(trainer.parameters, before, strict=True)])
    assert moved.norm().item() == pytest.approx(0.5 * trainer.rate.item(), rel=1e-4)


def test_bf16_runs_the_networks_in_half_and_the_loss_in_float32(digits: Suite, tmp_path: Path) -> None:
    recipe = digits.recipe.model_copy(update={"precision": "bf16", "epochs": 2})
    suite = digits.model_copy(update={"recipe": recipe})
    teacher = find_teacher(digits, "resnet8", None, print)
    assert teacher is not None
    [cell] = plan_cells(suite, {"kd": {}}, suite.pairs[:1], [0], {"resnet8": teacher})
    trainer = prepare(cell, load_data(suite.data), [teacher.load(suite)], CPU)[0]
    dtypes: list[torch.dtype] = []
    trainer.student.get_submodule("layer3").register_forward_hook(lambda m, i, out: dtypes.append(out.dtype))
    original = trainer.method.loss

    def watch(batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        assert student.logits.dtype == teacher.logits.dtype == torch.float32
        return original(batch, student, teacher)

    Method.__setattr__(trainer.method, "loss", watch)
    trainer.train_epoch(0)
    assert set(dtypes) == {torch.bfloat16}


def test_the_small_suite_of_the_tests_is_valid(small_suite: Path) -> None:
    assert load_suite(str(small_suite)).recipe.epochs == 4


def test_a_training_with_adamw_resumes_bit_equal(short: Suite, tmp_path: Path) -> None:
    recipe = short.recipe.model_copy(update={"optimizer": "adamw", "learning_rate": 0.003})
    suite = short.model_copy(update={"recipe": recipe})
    whole, half, rest = (make(suite, "kd", student="vit_w32") for _ in range(3))
    whole.train(tmp_path / "whole")
    for _ in range(2):
        half.next_epoch()
    half.save(tmp_path / "half")
    rest.restore(tmp_path / "half")
    rest.train(tmp_path / "rest")
    assert torch.equal(rest.predict(), whole.predict())
    assert whole.curve["ce"][-1] < whole.curve["ce"][0]


def test_a_network_that_cannot_be_compiled_runs_eagerly_and_is_told_so(
    short: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise RuntimeError("no C++ compiler\nInstall one")

    said: list[str] = []
    read = make(short, "vanilla").read_student
    monkeypatch.setattr(torch, "compile", lambda read: refuse)
    compiled = Compiled(read, said.append)
    images = torch.randn(2, 1, 8, 8)
    compiled(images)
    assert compiled(images).logits.shape == (2, 10)
    assert said == ["torch.compile failed, the network runs eagerly: no C++ compiler"]


class Strong(Method):
    """Reads strong views and trains on the labels alone."""

    name, scheme, deviations = "strong", "baseline", ("strong views instead of the images",)
    requires = frozenset({"student.logits", "strong_images"})

    def inputs(self, batch: Batch) -> Batch:
        assert batch.strong_images is not None
        return replace(batch, images=batch.strong_images, view=None)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {"ce": torch.nn.functional.cross_entropy(student.logits, batch.labels)}


def test_strong_views_are_new_each_epoch_and_the_same_for_every_method() -> None:
    one, other = Bench(load_method("mlld")).trainer(), Bench(Strong).trainer()
    for epoch in range(2):
        feeds = one.feed(epoch), other.feed(epoch)
        for i in range(3):
            (ours, theirs) = (trainer.batch(feed, i) for trainer, feed in zip((one, other), feeds, strict=True))
            assert torch.equal(ours.strong_images, theirs.strong_images)  # type: ignore[arg-type]
            assert ours.strong_images.shape == ours.images.shape  # type: ignore[union-attr]
            assert not torch.equal(ours.strong_images, ours.images)  # type: ignore[arg-type]
    assert not torch.equal(one.feed(0).strong, one.feed(1).strong)
    alone = Bench(load_method("vanilla")).trainer()
    assert alone.batch(alone.feed(0), 0).strong_images is None
    assert alone.feed(0).strong.numel() == 0


@pytest.mark.parametrize(
    ("epochs", "count", "expected"), [(4, 4, [1, 2, 3, 4]), (12, 4, [3, 6, 9, 12]), (7, 3, [2, 4, 7])]
)
def test_evaluations_are_evenly_spread_and_end_with_the_last_epoch(
    epochs: int, count: int, expected: list[int]
) -> None:
    assert evaluated(epochs, count) == expected


@pytest.mark.parametrize(
    ("epochs", "of_recipe", "images", "test_images", "expected"),
    [
        (240, 240, 50000, 10000, 240),
        (60, 60, 300, 797, 20),  # 900 images each
        (960, 60, 300, 797, 20),
        (2, 60, 300, 797, 2),
        (1, 1, 300, 797, 1),
    ],
)
def test_evaluation_takes_no_longer_than_training(
    epochs: int, of_recipe: int, images: int, test_images: int, expected: int
) -> None:
    assert evaluations(epochs, of_recipe, images, test_images) == expected


def test_a_long_main_stage_has_every_epochs_loss_and_the_recipes_number_of_accuracies() -> None:
    bench = Bench(load_method("vanilla"))
    trainer = bench.trainer()
    first, main = replace(trainer.stage, name="warm-up", epochs=2), replace(trainer.stage, epochs=7)
    trainer.recipe = trainer.recipe.model_copy(update={"epochs": 3})
    trainer.replan([first, main])
    seen: list[int] = []
    trainer.test_top1 = lambda: float(seen.append(trainer.epochs_done) or 0.0)  # type: ignore[method-assign,func-returns-value]

    curve = bench.train(trainer)

    assert seen == [2 + 2, 2 + 4, 2 + 7]
    assert {name: len(values) for name, values in curve.items() if name.endswith("loss") or name == "test_top1"} == {
        "warm-up.loss": 2,
        "loss": 7,
        "test_top1": 3,
    }
