"""Trainings from stored outputs are those under a live teacher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kdbench.cache import cache_folder
from kdbench.checks.simulated import GPU, simulated_gpu
from kdbench.data.small import load_data
from kdbench.plugins import load_method
from kdbench.records.compute import training_flops
from kdbench.records.record import Record
from kdbench.records.store import Entry
from kdbench.running.cell import run_cell
from kdbench.running.plan import Cell, plan_cells, plan_teacher
from kdbench.running.prepare import load_teachers, prepare
from kdbench.running.stored import can_be_served
from kdbench.running.teachers import find_teacher
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Execution
from kdbench.training.trainer import Trainer

CPU = torch.device("cpu")


def silent(*arguments: object) -> None:
    pass


@pytest.fixture
def suite(small_suite: Path) -> Suite:
    """Digits for three epochs, of 15 full batches and one of 40 images."""
    return load_suite(str(small_suite)).with_epochs(3)


@pytest.fixture(autouse=True)
def _own_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdbench.training.row_store.cache_folder", lambda: tmp_path / "cache")


def plan(suite: Suite, *methods: str) -> list[Cell]:
    """Seed 0 of methods, under a teacher that is trained here if it has to be."""
    name = suite.pairs[0].teacher
    if find_teacher(suite, name, None, print) is None:
        run_cell(plan_teacher(suite, name), cache_folder(), CPU, silent, print)
    teacher = find_teacher(suite, name, None, print)
    assert teacher is not None
    return plan_cells(suite, {method: {} for method in methods}, suite.pairs, [0], {name: teacher})


def run(cell: Cell, root: Path, stored: bool) -> Entry:
    done = run_cell(cell, root, CPU, silent, print, stored=stored)
    assert done is not None
    return done[0]


def ready(cell: Cell, stored: bool, device: torch.device = CPU, execution: Execution = "eager") -> Trainer:
    teachers = load_teachers(cell)
    return prepare(cell, load_data(cell.suite.data), teachers, device, execution, silent, stored=stored)[0]


def passes(record: Record) -> tuple[int, int]:
    """Images through the student and the teacher."""
    assert record.cost is not None
    assert record.cost.passes is not None
    return record.cost.passes["student"].forward, record.cost.passes["teacher"].forward


def test_records_are_those_under_a_live_teacher_and_say_what_was_computed(suite: Suite, tmp_path: Path) -> None:
    found = {}
    for cell in plan(suite, "kd", "dkd", "crd"):
        live, stored = (run(cell, tmp_path / str(kind), kind).record for kind in (False, True))
        assert stored.evidence_sha256 == live.evidence_sha256
        assert stored.curve == live.curve
        assert stored.key == live.key
        assert ([t.outputs for t in live.teachers], [t.outputs for t in stored.teachers]) == (["live"], ["stored"])
        assert live.cost is not None
        assert stored.cost is not None
        assert stored.cost.flops is not None
        assert live.cost.flops is not None
        assert passes(live) == (900, 900)
        assert passes(stored)[0] == 900
        assert (stored.cost.flops < live.cost.flops) == (passes(stored)[1] < 900)
        macs = {teacher.sha256: teacher.record.main.macs for teacher in cell.teachers}
        assert training_flops(stored, macs) == pytest.approx(training_flops(live, macs), rel=0.01)
        found[cell.method] = passes(stored)[1]
    assert 3 * 44 + 256 < found["kd"] <= 900  # some views come again, and batches are filled up
    assert found["dkd"] == 3 * 44  # those of the short batches
    assert found["crd"] == found["kd"]  # embeddings were not there


def test_stages_with_views_of_their_own_are_served_too(suite: Suite, tmp_path: Path) -> None:
    [cell] = plan(suite.with_epochs(1), "takd")
    live, stored = (run(cell, tmp_path / str(kind), kind).record for kind in (False, True))
    assert stored.teachers[0].outputs == "stored"
    assert stored.evidence_sha256 == live.evidence_sha256
    assert stored.curve == live.curve
    macs = {teacher.sha256: teacher.record.main.macs for teacher in cell.teachers}
    assert training_flops(stored, macs) is None  # an assistant asked for some of them


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_every_batch_is_given_what_the_teacher_would_have_said(precision: str, suite: Suite) -> None:
    """Whichever rows were computed before, and with which others."""
    [cell] = plan(suite, "crd")
    recipe = suite.recipe.model_copy(update={"precision": precision})
    changed = cell.suite.model_copy(update={"recipe": recipe})
    cell = replace(cell, suite=changed)
    trainer, live = ready(cell, True), ready(cell, False)
    assert live.stored is None
    assert trainer.stored is not None
    sizes = {store.values.itemsize for store in trainer.stored.stores.values()}
    assert sizes == {4 if precision == "float32" else 2}
    for epoch in (2, 0):
        feed = trainer.feed(epoch)
        for i in range(len(feed.step)):
            batch = trainer.batch(feed, i)
            kept, said = trainer.outputs(batch.images, batch.index)[1], live.outputs(batch.images)[1]
            for what in ("logits", "embedding"):
                assert torch.equal(getattr(kept, what), getattr(said, what))


def test_an_interrupted_training_goes_on(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [cell] = plan(suite, "kd")
    expected = run(cell, tmp_path / "live", stored=False).record
    monkeypatch.setattr("kdbench.training.rhythm.CHECKPOINT_EVERY", 0.0)
    monkeypatch.setattr("kdbench.training.rhythm.CHECKPOINT_SHARE", 1e9)

    def stop(epochs_done: int, epochs: int, loss: float | None) -> None:
        if epochs_done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cell(cell, tmp_path, CPU, stop, print, stored=True)
    record = run(cell, tmp_path, stored=True).record
    assert record.evidence_sha256 == expected.evidence_sha256
    assert record.curve == expected.curve


def test_a_captured_step_reads_each_epochs_own(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [cell] = plan(suite, "kd")
    monkeypatch.setattr("kdbench.training.stored_outputs.GPU_BATCH", 0)  # as many at a time as a step has
    eager = ready(cell, False)
    eager.train(tmp_path / "eager")
    with simulated_gpu():
        captured = ready(cell, True, GPU, "captured")
        captured.train(tmp_path / "captured")
        assert captured.captured is not None
    assert captured.curve == eager.curve


def test_another_teacher_or_other_data_have_another_store(suite: Suite) -> None:
    [cell] = plan(suite, "kd")
    assert cell.teacher is not None
    part = suite.model_copy(update={"data": suite.data.model_copy(update={"train_fraction": 0.5})})
    others = [replace(cell, teacher=replace(cell.teacher, sha256="0" * 64)), replace(cell, suite=part)]
    files = set()
    for one in (cell, *others, cell):
        teachers = [cell.teacher.load(suite)]
        trainer = prepare(one, load_data(one.data), teachers, CPU, notice=silent, stored=True)[0]
        assert trainer.stored is not None
        files.add(trainer.stored.stores["logits"].files)
    assert len(files) == 3


@pytest.mark.parametrize(
    ("method", "served"),
    {
        "kd": True, "dkd": True, "crd": True, "pkt": True, "shuffled_logits": True,
        "at": False, "simkd": False,  # maps, the network itself
        "avg_teachers": False, "mixup": False, "sskd": False, "vanilla": False, "dafl": False,
    }.items(),
)  # fmt: skip
def test_methods_that_read_more_or_other_images_keep_the_live_teacher(method: str, served: bool) -> None:
    assert can_be_served(load_method(method)) == served


def test_a_stage_that_reads_no_teacher_computes_nothing(suite: Suite) -> None:
    [cell] = plan(suite, "kd")
    trainer = ready(cell, True)
    assert trainer.stored is not None
    main = trainer.stages[-1]
    trainer.replan([type(main)("", main.epochs, main.loss, requires=frozenset({"student.logits"}))])
    trainer.feed(0)
    assert not trainer.stored.has(torch.arange(2700).numpy()).any()
    trainer.replan([main])
    trainer.feed(0)
    assert trainer.stored.has(torch.arange(2700).numpy()).sum() == 256
