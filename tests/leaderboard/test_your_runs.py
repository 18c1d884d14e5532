"""Your own runs on the board: what reproduces accepted rows, what is a row of its own, and who is a reference."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from kdbench.records.reader import read_results
from kdbench.records.store import Entry, finish_cell
from kdbench_leaderboard.boards import reproductions
from kdbench_leaderboard.build import build
from kdbench_leaderboard.read import read_store
from kdbench_leaderboard.verdicts import verdict_cell
from tests.boards import by_name


def own(runs: Path, entries: list[Entry], finished: str = "2026-02-03T04:05:06+00:00") -> None:
    """Put entries into a folder of one's own, as if trained again at another time."""
    for entry in entries:
        record = entry.record.model_copy(update={"finished": finished}).sealed()
        finish_cell(runs / "digits" / record.method.name / record.key[:16], record, entry.evidence)


def with_answers_of(entry: Entry, other: Entry) -> Entry:
    """A record of the same cell with another one's predictions."""
    changes = {"networks": other.record.networks, "evidence_sha256": other.record.evidence_sha256, "curve": None}
    return Entry(entry.record.model_copy(update=changes).sealed(), other.evidence, entry.folder)


def test_your_run_with_identical_predictions_adds_no_row_and_is_told(copy: Path, tmp_path: Path):
    own(tmp_path / "runs", read_results(copy / "digits" / "good"))
    assert set(by_name(copy, tmp_path / "runs")) == set(by_name(copy))
    (found,) = reproductions(read_store(copy, tmp_path / "runs")).values()
    assert str(found) == "reproduced: predictions identical to the accepted records in all 15 cells"


def test_your_run_with_other_predictions_is_a_row_of_its_own(copy: Path, tmp_path: Path):
    good, bad = (read_results(copy / "digits" / name) for name in ("good", "bad"))
    places = {(e.record.student, e.record.teacher, e.record.seed): e for e in bad}
    own(
        tmp_path / "runs",
        [with_answers_of(e, places[e.record.student, e.record.teacher, e.record.seed]) for e in good],
    )
    found = by_name(copy, tmp_path / "runs")
    assert found["good (yours)"].accuracy == found["bad"].accuracy
    (verdict,) = reproductions(read_store(copy, tmp_path / "runs")).values()
    assert verdict.verdict == "not reproduced"
    assert verdict.identical == 0


def test_records_that_you_submitted_reproduce_nothing(copy: Path, tmp_path: Path):
    for entry in read_results(copy / "digits" / "good"):
        finish_cell(tmp_path / "runs" / "digits" / "good" / entry.record.key[:16], entry.record, entry.evidence)
    assert set(by_name(copy, tmp_path / "runs")) == set(by_name(copy))
    assert reproductions(read_store(copy, tmp_path / "runs")) == {}


def test_a_page_tells_to_verify_what_is_there(copy: Path, tmp_path: Path):
    """Of an accepted row a line of `results/`, of yours a folder of `runs/`."""
    own(tmp_path / "runs", read_results(copy / "digits" / "good"))
    shutil.rmtree(copy / "digits" / "good")
    build(tmp_path / "site", copy, tmp_path / "runs")
    named = {}
    for page in (tmp_path / "site" / "method").glob("*.html"):
        if told := re.search(r"kdbench verify (\S+) --level", page.read_text(encoding="utf-8")):
            named[page.stem] = told[1]
    assert named["good"].startswith("runs/digits/good/")
    assert named["kd"].startswith("results/digits/kd/records.jsonl:")
    assert all((tmp_path / name.partition(":")[0]).exists() for name in named.values())


def test_on_a_board_of_your_own_your_plain_student_and_kd_are_the_references(results: Path, tmp_path: Path):
    for name in ("vanilla", "kd", "bad", "good"):
        own(tmp_path / "runs", read_results(results / "digits" / name))
    found = by_name(tmp_path / "none", tmp_path / "runs")
    said = {name: verdict_cell(s).text for name, s in found.items()}
    assert said["bad (yours)"] == "worse than the plain student, plain KD"
    assert said["good (yours)"] == "better than all references"
    assert said["vanilla (yours)"] == "the plain student"
    plain, bad = found["vanilla (yours)"].accuracy, found["bad (yours)"]
    assert plain
    assert bad.accuracy
    assert bad.gain
    assert bad.gain.mean == pytest.approx(bad.accuracy[0] - plain[0])
    assert all(result.gain for result in bad.pairs.values())


def test_your_plain_student_is_no_reference_beside_the_accepted_one(copy: Path, tmp_path: Path):
    vanilla, bad = (read_results(copy / "digits" / name) for name in ("vanilla", "bad"))
    students = {(e.record.student, e.record.seed): e for e in bad}
    own(tmp_path / "runs", [with_answers_of(e, students[e.record.student, e.record.seed]) for e in vanilla])
    found = by_name(copy, tmp_path / "runs")
    assert found["vanilla"].reference == "vanilla"
    assert found["vanilla (yours)"].reference is None
    assert "worse than the plain student" in verdict_cell(found["vanilla (yours)"]).text


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ((), "no plain student or plain KD here to compare with"),
        (("vanilla",), "better than the plain student"),
        (("kd",), "better than plain KD"),
        (("vanilla", "kd"), "better than all references"),
    ],
)
def test_only_what_was_compared_is_claimed(results: Path, tmp_path: Path, beside: tuple[str, ...], said: str):
    for name in ("good", *beside):
        own(tmp_path / "runs", read_results(results / "digits" / name))
    good = by_name(tmp_path / "none", tmp_path / "runs")["good (yours)"]
    assert verdict_cell(good).text == said
