"""Training task after task: the images of each, its open classes, the network after each, and a kill between two."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kdbench.checks.bench import Bench, batches, first_difference, state
from kdbench.data.small import load_data
from kdbench.method import Stage
from kdbench.suites import load_suite
from kdbench.tasks import Tasks, after_task
from kdbench.training.task_trainer import SHUT, TaskTrainer, shut_classes, task_rows
from kdbench_methods.joint import Joint
from kdbench_methods.lwf import LwF

LABELS = torch.tensor([3, 0, 1, 2, 0, 1, 3, 2, 0, 2])
TASKS = Tasks(classes=((2, 0), (1, 3)), memory=1)


def test_a_task_has_the_images_of_its_classes_and_the_first_ones_of_each_earlier_class() -> None:
    first, second = task_rows(LABELS, TASKS, all_earlier=False)
    assert first.tolist() == [1, 3, 4, 7, 8, 9]
    assert second.tolist() == [0, 1, 2, 3, 5, 6]
    without = task_rows(LABELS, TASKS.model_copy(update={"memory": 0}), all_earlier=False)
    assert without[1].tolist() == [0, 2, 5, 6]
    assert task_rows(LABELS, TASKS, all_earlier=True)[1].tolist() == list(range(len(LABELS)))


def test_classes_that_have_not_come_are_shut() -> None:
    assert shut_classes(TASKS).tolist() == [[False, True, False, True], [False] * 4]


@pytest.mark.parametrize("name", ["digits-tasks"])
def test_every_image_comes_in_its_task(name: str) -> None:
    suite = load_suite(name)
    assert suite.tasks is not None
    labels = load_data(suite.data).train_labels
    for t, rows in enumerate(task_rows(labels, suite.tasks, all_earlier=False)):
        counts = torch.bincount(labels[rows], minlength=suite.data.num_classes)
        earlier, now = suite.tasks.seen(t - 1) if t else [], list(suite.tasks.classes[t])
        assert counts[earlier].tolist() == [suite.tasks.memory] * len(earlier)
        assert torch.equal(counts[now], torch.bincount(labels)[now])
        assert counts.sum() == counts[earlier].sum() + counts[now].sum()


def test_batches_and_logits_are_those_of_the_task() -> None:
    trainer = Bench(LwF).trainer()
    assert isinstance(trainer, TaskTrainer)
    seen = set()
    for batch in batches(trainer):
        assert set(batch.labels.tolist()) <= set(trainer.tasks.seen(batch.task))
        logits = trainer.outputs(batch.images)[0].logits
        assert bool((logits[:, trainer.shut[batch.task]] == SHUT).all())
        assert bool((logits[:, ~trainer.shut[batch.task]] > SHUT / 2).all())
        seen.add((trainer.stage.name, batch.task))
    assert seen == {("task 1", 0), ("", 1)}


def test_an_upper_bound_sees_all_earlier_images_again() -> None:
    upper, lower = Bench(Joint).trainer(), Bench(LwF).trainer()
    assert [trainer.samples for trainer in (upper, lower)] == [len(upper.labels), len(lower.rows[1])]  # type: ignore[attr-defined]
    assert lower.samples < upper.samples


def test_a_training_that_is_killed_between_tasks_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole, cut = Bench(LwF).trainer(), Bench(LwF).trainer()
    first = whole.stages[0].epochs
    for trainer in (whole, cut):
        for _ in range(first):
            trainer.next_epoch()
    cut.save(tmp_path / "checkpoint.safetensors")
    rest = Bench(LwF).trainer()
    rest.restore(tmp_path / "checkpoint.safetensors")
    for trainer in (whole, rest):
        while trainer.epochs_done < trainer.epochs:
            trainer.next_epoch()
    assert first_difference(state(whole), state(rest)) is None
    assert rest.steps_done == sum(s.epochs * -(-len(r) // 16) for s, r in zip(rest.stages, rest.rows, strict=True))  # type: ignore[attr-defined]


def test_the_network_after_a_task_is_kept_as_it_was_and_chooses_among_its_classes() -> None:
    trainer = Bench(LwF).trainer()
    while trainer.epochs_done < trainer.stages[0].epochs:
        trainer.next_epoch()
    now = trainer.predict()
    while trainer.epochs_done < trainer.epochs:
        trainer.next_epoch()
    [(role, network)] = trainer.earlier_networks().items()
    kept = trainer.predict(network)
    assert role == after_task(0)
    assert torch.equal(kept[:, :5], now[:, :5])
    assert bool((kept[:, 5:] == SHUT).all())
    assert not torch.equal(trainer.predict()[:, :5], now[:, :5])


def test_stages_of_a_methods_own_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LwF, "stages", lambda self: [Stage("hint", 1, self.loss)])
    with pytest.raises(TypeError, match=r"lwf.stages gives 'hint'"):
        Bench(LwF).trainer()


def test_a_main_stage_of_another_length_is_that_of_each_task(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = LwF.main
    monkeypatch.setattr(LwF, "main", lambda self, epochs: replace(plain(self, epochs), epochs=2 * epochs))
    trainer = Bench(LwF).trainer(epochs=3)
    assert [stage.epochs for stage in trainer.stages] == [6, 6]
