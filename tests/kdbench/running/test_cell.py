"""A cell ends in a whole record, once, whatever happened before."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from kdbench.cache import cache_folder
from kdbench.data.small import load_data
from kdbench.errors import KdbenchError
from kdbench.hashing import file_sha256
from kdbench.records.metrics import metrics
from kdbench.records.store import Entry, read_cell
from kdbench.records.successors import partial_folder
from kdbench.running import cell as cell_module
from kdbench.running.cell import CellFailed, run_cell
from kdbench.running.plan import Cell, plan_cells, plan_teacher
from kdbench.running.teachers import find_teacher
from kdbench.suite import Suite
from kdbench.suites import load_suite

CPU = torch.device("cpu")


def silent(*arguments: object) -> None:
    pass


@pytest.fixture
def suite(small_suite: Path) -> Suite:
    return load_suite(str(small_suite))


def plan(suite: Suite, method: str, **params: object) -> list[Cell]:
    """Cells of a method on a suite whose teacher is trained here if it has to be."""
    name = suite.pairs[0].teacher
    teacher = find_teacher(suite, name, None, print)
    if teacher is None:
        run_cell(plan_teacher(suite, name), cache_folder(), CPU, silent, print)
        teacher = find_teacher(suite, name, None, print)
    assert teacher is not None
    return plan_cells(suite, {method: params}, suite.pairs, range(suite.seeds), {name: teacher})


def run(cell: Cell, root: Path, notice: Callable[[str], None] = print) -> Entry:
    done = run_cell(cell, root, CPU, silent, notice)
    assert done is not None
    return done[0]


def test_a_record_says_what_was_trained_and_its_metrics_follow_from_its_evidence(suite: Suite, tmp_path: Path) -> None:
    [cell, _] = plan(suite, "fitnets")
    entry = run(cell, tmp_path)
    record = entry.record
    assert entry.evidence is not None
    assert read_cell(entry.folder).record == record
    assert record.main.metrics == metrics(entry.evidence, load_data(suite.data).test_labels.numpy(), 10)
    assert [str(m.student) for m in record.matching] == ["layer1 (2x8x8)", "layer2 (4x4x4)", "layer3 (8x2x2)"]
    assert {m.by for m in record.matching} == {"position"}
    assert record.teachers[0].sha256 == (cell.teacher and cell.teacher.sha256)
    assert record.params["hint_weight"] == 100.0
    assert record.params_source == "paper"
    assert record.main.parameters == 1384
    assert record.cost is not None
    assert record.cost.method_parameters == 4 * 32 + 32 + 2 * 32
    assert record.curve is not None
    assert {len(values) for name, values in record.curve.items() if name != "test_top1"} == {suite.recipe.epochs}
    assert record.curve["test_top1"][-1] == pytest.approx(record.main.metrics.top1, abs=1e-4)
    names = {path.name.split("-")[0] for path in entry.folder.iterdir()}
    assert names == {"record.json", "evidence.parquet", "logits.safetensors", "classes.json", "resnet8_w2"}
    assert not partial_folder(entry.folder).exists()


def test_a_finished_cell_is_not_trained_again(suite: Suite, tmp_path: Path) -> None:
    [cell, _] = plan(suite, "vanilla")
    first = run(cell, tmp_path)
    again = run_cell(cell, tmp_path, CPU, lambda *a: pytest.fail("trained again"), print)
    assert again is not None
    entry, trained = again
    assert entry.record == first.record
    assert not trained
    assert read_cell(first.folder).record.finished == first.record.finished


def test_teachers_are_half_precision_and_evaluated_as_such(suite: Suite, tmp_path: Path) -> None:
    [cell, _] = plan(suite, "kd")
    assert cell.teacher is not None
    network = cell.teacher.load(suite)
    assert all(torch.equal(p, p.half().float()) for p in network.parameters())
    assert network.get_buffer("bn1.running_mean").dtype == torch.float32
    from kdbench.data.views import Normalize

    images = Normalize(suite.data, CPU)(load_data(suite.data).test_images)
    predicted = network(images).argmax(1).numpy()
    assert (predicted == cell.teacher.evidence.predicted).mean() > 0.998  # one-thread and many-thread sums may differ
    assert cell.teacher.path.name.startswith(f"resnet8-{cell.teacher.sha256[:12]}")


def test_a_cell_that_another_process_trains_is_left_to_it(suite: Suite, tmp_path: Path) -> None:
    [cell, _] = plan(suite, "vanilla")
    lock = tmp_path / suite.name / ".locks" / f"{cell.key[:16]}.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        assert run_cell(cell, tmp_path, CPU, silent, print) is None
    assert run_cell(cell, tmp_path, CPU, silent, print) is not None


def test_where_a_lock_does_not_hold_the_second_record_is_checked_and_dropped(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [cell, _] = plan(suite, "vanilla")
    monkeypatch.setattr(cell_module, "key_lock", lambda *given: nullcontext(True))
    monkeypatch.setattr("kdbench.training.rhythm.CHECKPOINT_EVERY", 0.0)
    monkeypatch.setattr("kdbench.training.rhythm.CHECKPOINT_SHARE", 1e9)
    others: list[Entry] = []

    def meanwhile(epochs_done: int, epochs: int, loss: float | None) -> None:
        if epochs_done == 1 and loss is not None:
            others.append(run(cell, tmp_path))

    said: list[str] = []
    done = run_cell(cell, tmp_path, CPU, meanwhile, said.append)
    assert done is not None
    assert (done[0].record, done[1]) == (others[0].record, False)
    assert "equal predictions; the first record is kept" in said[0]
    assert [path.name for path in done[0].folder.parent.iterdir()] == [cell.key[:16]]


@pytest.mark.parametrize("file", ["record.json", "evidence.parquet"])
@pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
def test_a_corrupt_record_is_named_set_aside_and_redone(file: str, damage: str, suite: Suite, tmp_path: Path) -> None:
    [cell, _] = plan(suite, "vanilla")
    first = run(cell, tmp_path)
    path = first.folder / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink() if damage == "remove" else path.write_bytes(content[:100] if damage == "cut" else content)
    said: list[str] = []
    second = run(cell, tmp_path, said.append)
    assert len(said) == 1
    assert file in said[0]
    assert second.evidence is not None
    assert first.evidence is not None
    assert second.evidence.sha256() == first.evidence.sha256()
    assert first.folder.with_name(first.folder.name + ".aside-1").is_dir()


def test_a_corrupt_checkpoint_is_named_set_aside_and_the_cell_starts_again(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [cell, other] = plan(suite, "vanilla")
    expected = run(cell, tmp_path / "whole")
    monkeypatch.setattr("kdbench.training.rhythm.CHECKPOINT_EVERY", 0.0)
    monkeypatch.setattr("kdbench.training.rhythm.CHECKPOINT_SHARE", 1e9)

    def stop(epochs_done: int, epochs: int, loss: float | None) -> None:
        if epochs_done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cell(cell, tmp_path, CPU, stop, print)
    [checkpoint] = partial_folder(cell.folder(tmp_path)).glob("checkpoint-*.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:-3])
    said: list[str] = []
    entry = run(cell, tmp_path, said.append)
    assert "corrupt" in said[0]
    assert "aside-1" in said[0]
    assert entry.record.evidence_sha256 == expected.record.evidence_sha256
    assert entry.record.curve == expected.record.curve
    assert other.key != cell.key


def test_a_method_that_does_not_apply_is_recorded_with_its_reason(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kdbench.method import NotApplicable
    from kdbench_methods.fitnets import FitNets

    def refuse(self: object, setup: object) -> None:
        raise NotApplicable("the maps do not fit")

    [cell, _] = plan(suite, "fitnets")
    monkeypatch.setattr(FitNets, "build", refuse)
    entry = run(cell, tmp_path)
    assert (entry.record.status, entry.record.reason) == ("not_applicable", "the maps do not fit")
    assert read_cell(entry.folder) == entry


def test_a_method_that_fails_leaves_no_record(suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kdbench_methods.at import AT

    [cell, _] = plan(suite, "at")

    def fail(*arguments: object) -> None:
        raise ValueError("two\nlines")

    monkeypatch.setattr(AT, "loss", fail)
    with pytest.raises(CellFailed, match="ValueError: two lines") as caught:
        run_cell(cell, tmp_path, CPU, silent, print)
    assert "Traceback" in caught.value.details
    assert not cell.folder(tmp_path).exists()


def test_a_full_disk_is_one_line_and_leaves_no_half_record(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [cell, _] = plan(suite, "vanilla")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("kdbench.records.store.sync", full)
    with pytest.raises(KdbenchError, match="the disk is full"):
        run_cell(cell, tmp_path, CPU, silent, print)
    assert not cell.folder(tmp_path).exists()
    monkeypatch.undo()


def test_the_key_holds_what_the_result_depends_on_and_nothing_else(suite: Suite, tmp_path: Path) -> None:
    [cell, other_seed] = plan(suite, "at")
    [plain, _] = plan(suite, "vanilla")
    [weighted, _] = plan(suite, "at", attention_weight=1.0)
    assert len({cell.key, other_seed.key, plain.key, weighted.key}) == 4
    assert plain.teacher is None
    assert weighted.variant == {"attention_weight": 1.0}
    more_pairs = suite.model_copy(update={"pairs": suite.pairs * 2, "title": "another"})
    [same, _] = plan(more_pairs, "at")
    assert same.key == cell.key
    [slower, _] = plan(suite.with_epochs(5), "at")
    assert slower.key != cell.key


def test_a_changed_source_file_runs_the_cell_again(suite: Suite, tmp_path: Path) -> None:
    [cell, _] = plan(suite, "vanilla")
    entry = run(cell, tmp_path)
    assert cell.is_served_by(entry.record)
    changed = entry.record.method.model_copy(update={"source_sha256": "0" * 64})
    assert not cell.is_served_by(entry.record.model_copy(update={"method": changed}))


def test_a_variant_is_a_row_of_its_own(suite: Suite, tmp_path: Path) -> None:
    [cell, _] = plan(suite, "at", kd_weight=0.5)
    record = run(cell, tmp_path).record
    assert record.row == "at[kd_weight=0.5]"
    assert record.params_source == "user"
    assert json.loads(record.to_json())["variant"] == {"kd_weight": 0.5}


def test_a_validation_run_leaves_teachers_as_they_are(suite: Suite) -> None:
    cell = plan_teacher(suite.with_validation(), "resnet8")
    assert cell.data.evaluate_on == "test"
    assert cell.key == plan_teacher(suite, "resnet8").key


@pytest.mark.parametrize("damage", ["cut", "remove"])
def test_a_corrupt_teacher_is_named_set_aside_and_trained_again(
    damage: str, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    [cell, _] = plan(suite, "kd")
    assert cell.teacher is not None
    path = cell.teacher.path
    path.unlink() if damage == "remove" else path.write_bytes(path.read_bytes()[:-1])
    said: list[str] = []
    assert find_teacher(suite, "resnet8", None, said.append) is None
    assert len(said) == (damage == "cut")
    again = run_cell(plan_teacher(suite, "resnet8"), cache_folder(), CPU, silent, said.append)
    assert again is not None
    assert again[1]
    teacher = find_teacher(suite, "resnet8", None, print)
    assert teacher is not None
    assert teacher.sha256 == cell.teacher.sha256


def test_a_checkpoint_of_another_training_is_set_aside(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kdbench.training.checkpoint import save_tensors

    [cell, _] = plan(suite, "vanilla")
    partial = partial_folder(cell.folder(tmp_path))
    partial.mkdir(parents=True)
    save_tensors(partial / f"checkpoint-cpu-{cell.source_sha256[:12]}.safetensors", {"odd": torch.zeros(3)}, {})
    said: list[str] = []
    entry = run(cell, tmp_path, said.append)
    assert "does not fit" in said[0]
    assert not list(entry.folder.glob("*checkpoint*"))


def test_a_value_of_the_users_makes_one_row_over_all_pairs(digits: Suite) -> None:
    from kdbench.tables import Override

    name = str(digits.pairs[0])
    override = Override(params={}, pairs={name: {"kd_weight": 0.5}}, source="paper per pair", trials=0)
    suite = digits.model_copy(update={"methods": {"kd": override}})
    teachers = {model: find_teacher(digits, model, None, print) for model in ("resnet8", "vit")}
    cells = plan_cells(suite, {"kd": {"kd_weight": 0.5}}, suite.pairs, [0], teachers)  # type: ignore[arg-type]
    assert {cell.row for cell in cells} == {"kd[kd_weight=0.5]"}
    same = plan_cells(suite, {"kd": {"temperature": 4.0}}, suite.pairs, [0], teachers)  # type: ignore[arg-type]
    assert {cell.row for cell in same} == {"kd"}
    assert {cell.params["kd_weight"] for cell in same} == {0.5, 0.9}
    assert {cell.params_source for cell in same} == {"paper per pair"}


def test_what_foreign_code_reads_stands_on_its_record(
    digits: Suite, tmp_path: Path, install_plugin: Callable[..., Path]
) -> None:
    source = """
from pathlib import Path
from kdbench.suites import SUITES
from tests.kdbench.checks.honest import Honest

HERE = Path(__file__)
SECRET = (SUITES / "digits.toml").read_text()


class Nosy(Honest):
    '''Reads a file of its own and one of others.'''

    name = "nosy"

    def build(self, setup):
        HERE.with_name("words.csv").read_text()
"""
    site = install_plugin("theirs", {"nosy": "nosy_method:Nosy"}, nosy_method=source)
    (site / "words.csv").write_text("1,2\n")
    [cell] = plan_cells(digits.with_epochs(1), {"nosy": {}}, digits.pairs[:1], [0], {})
    found = run_cell(cell, tmp_path, torch.device("cpu"), lambda *progress: None, print)
    assert found is not None
    method = found[0].record.method
    assert method.strays == ["opens digits.toml"]
    assert method.files_read == {"words.csv": file_sha256(site / "words.csv")}
    assert found[0].record.main.differs is None
