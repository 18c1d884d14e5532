"""Back from the board: verify says how far a record can be believed."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from kdbench.commands.verify import find_target, verify
from kdbench.errors import KdbenchError
from kdbench.records.store import Entry, read_cell, read_runs
from kdbench.records.verification import Verification, add_verified, read_verified
from kdbench.running.stored_weights import weights_problem
from kdbench.suites import load_suite
from kdbench.training.checkpoint import load_tensors, save_tensors
from tests.submitting import first_cell, rewrite, submit, verify_at

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_curve_that_does_not_replay_fails_level_2(ran: Path) -> None:
    entry = first_cell(ran)
    assert entry.record.curve is not None
    curve = {**entry.record.curve, "loss": [2 * value for value in entry.record.curve["loss"]]}
    rewrite(entry, curve=curve)
    code, said = verify_at(ran, entry.folder, 2)
    assert code == 1
    assert "Level 2 does not hold: 'loss' of the first epoch" in said
    assert [v.level for v in read_verified(entry.folder.parent)] == [1]
    assert read_cell(entry.folder).record.key == entry.record.key


@pytest.mark.parametrize("place", ["nowhere", "runs/small/kd", "results/digits/kd/records.jsonl:zzz", ":"])
def test_a_record_that_is_not_there_is_one_line(place: str) -> None:
    with pytest.raises(KdbenchError, match="0 records are named by") as caught:
        find_target(place, print)
    assert "\n" not in str(caught.value)


def test_a_lower_level_never_replaces_a_higher_one_of_the_same_record(tmp_path: Path) -> None:
    def said(level: int, sha256: str = "1" * 64) -> Verification:
        about = {"key": "0" * 64, "record_sha256": sha256, "outcome": "", "date": "2026-01-01", "environment": {}}
        return Verification.model_validate({**about, "level": level})

    add_verified(tmp_path, [said(3)])
    add_verified(tmp_path, [said(1)])
    assert [v.level for v in read_verified(tmp_path)] == [3]
    add_verified(tmp_path, [said(1, "2" * 64)])
    assert [v.level for v in read_verified(tmp_path)] == [1]


def test_a_sample_of_a_row_is_verified_and_by_whom(ran: Path) -> None:
    submit(ran)
    console, folder = Console(quiet=True), ran / "results" / "small" / "kd"
    assert verify(str(folder), 1, str(ran / "small.toml"), ran / "results", "cpu", console, 1, "the board") == 0
    assert [v.by for v in read_verified(folder)] == ["the board"]
    runs = ran / "runs" / "small" / "kd"
    assert verify(str(runs), 1, str(ran / "small.toml"), ran / "results", "cpu", console, 1, "the author") == 0
    assert [v.by for v in read_verified(runs)] == ["the author"]
    with pytest.raises(KdbenchError, match="No trained records"):
        verify(str(ran), 1, None, None, "cpu", console, 1)


def test_a_record_off_the_protocol_is_verified_as_what_it_is(ran: Path, here: Command) -> None:
    asked = ("-m", "vanilla", "--suite", "small.toml", "--seeds", "1", "--no-mlflow", "--results", "results")
    assert here("run", *asked, "--epochs", "1", "--validate").returncode == 0
    [entry] = [e for e in read_runs(ran / "runs", "small", "vanilla") if isinstance(e, Entry) and e.record.off_protocol]
    code, said = verify_at(ran, entry.folder, 2)
    assert code == 0
    assert said.startswith("Off protocol, not for the board: epochs: 1 instead of 4\nOff protocol")
    assert "Level 2 holds" in said


def test_an_unwritable_folder_has_a_remedy_that_verify_has(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(KdbenchError, match=r"Permission denied\. Mend its permissions\.$"):
        verify_at(ran, first_cell(ran).folder, 1)


def test_weights_that_do_not_answer_as_the_evidence_says_are_found(ran: Path) -> None:
    entry = first_cell(ran)
    assert weights_problem(entry, load_suite(str(ran / "small.toml"))) is None
    [file] = entry.folder.glob(f"{entry.record.student}-*.safetensors")
    tensors, state = load_tensors(file)
    save_tensors(file, {name: 0 * value for name, value in tensors.items()}, state)
    code, said = verify_at(ran, entry.folder, 1)
    assert code == 1
    assert "in the suite's student, agree with its evidence on" in said
    save_tensors(file, {**tensors, "more": tensors[min(tensors)]}, state)
    assert "holds no weights of the suite's student" in verify_at(ran, entry.folder, 1)[1]


def test_a_network_of_another_size_is_found_without_its_weights(ran: Path) -> None:
    entry = first_cell(ran)
    small = entry.record.main.model_copy(update={"parameters": 7})
    other = replace(entry, record=entry.record.model_copy(update={"networks": [small]}))
    assert "its network has 7 parameters" in (weights_problem(other, load_suite(str(ran / "small.toml"))) or "")
