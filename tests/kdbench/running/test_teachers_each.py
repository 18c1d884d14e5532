"""With several teachers of an architecture each seed of a student has its own, the same under every method."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from kdbench.commands.comparison import check_teachers
from kdbench.commands.estimate import jobs_of
from kdbench.commands.training_again import kind_of
from kdbench.errors import KdbenchError
from kdbench.records.gate import record_problems
from kdbench.records.keys import teacher_key
from kdbench.records.limits import covered
from kdbench.records.reader import read_results
from kdbench.records.record import Record
from kdbench.records.rows import group
from kdbench.records.store import Entry, read_runs
from kdbench.running.plan import plan_cells, teachers_of
from kdbench.running.timing import random_dataset
from kdbench.suite import Suite
from kdbench.suites import load_suite, load_test_labels
from kdbench.teacher_names import split_teacher, teacher_name
from kdbench_leaderboard.boards import make_boards, make_rows, teachers_each
from kdbench_leaderboard.learn.gap import beside_teacher
from kdbench_leaderboard.pages import networks_of
from kdbench_leaderboard.power import board_notes
from kdbench_leaderboard.read import read_store
from kdbench_leaderboard.standings import standings
from tests.conftest import Command


@pytest.fixture
def two_each(small_suite: Path) -> Path:
    """The small suite with two teachers for its two seeds."""
    text = small_suite.read_text().replace("most_seeds = 10", "teachers_each = 2 #")
    small_suite.write_text(text)
    return small_suite


def shared(digits: Suite, each: int) -> Suite:
    return digits.model_copy(update={"teachers_each": each})


def test_a_name_is_architecture_and_number() -> None:
    assert [teacher_name("vit", number) for number in (0, 1, 12)] == ["vit", "vit@1", "vit@12"]
    assert [split_teacher(name) for name in ("vit", "vit@12")] == [("vit", 0), ("vit", 12)]


def test_seeds_go_round_the_teachers_and_every_method_has_the_same(digits: Suite) -> None:
    suite = shared(digits, 10)
    cells = plan_cells(suite, {"kd": {}, "crd": {}, "vanilla": {}}, suite.pairs[1:2], range(12), {})
    read = {name: [cell.awaits for cell in cells if cell.method == name] for name in ("kd", "crd", "vanilla")}
    assert read["kd"] == [("vit",), *((f"vit@{n}",) for n in range(1, 10)), ("vit",), ("vit@1",)]
    assert read["crd"] == read["kd"]
    assert set(read["vanilla"]) == {()}
    assert teachers_of(suite, ["kd"], suite.pairs[1:2], [0, 3, 13]) == ["vit", "vit@3"]


def test_a_team_has_one_number(digits: Suite) -> None:
    cells = plan_cells(shared(digits, 10), {"avg_teachers": {}}, digits.pairs[:1], [4], {})
    assert [cell.awaits for cell in cells] == [("resnet8@4", "vit@4")]


def test_the_first_teacher_is_that_of_a_suite_with_one(digits: Suite) -> None:
    several, single = shared(digits, 10), shared(digits, 1)
    keys = [teacher_key(several, "vit", 1, number=number) for number in range(10)]
    assert keys[0] == teacher_key(single, "vit", 1)
    assert len(set(keys)) == 10
    assert several.fingerprint != single.fingerprint  # their students are others


def run_kd(here: Command, suite: Path, tmp_path: Path) -> list[Entry]:
    cache = tmp_path / "cache"
    done = here("run", "--method", "kd", "--suite", suite, "--no-mlflow", KDBENCH_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    assert "Teachers to train first: resnet8, resnet8@1" in done.stderr + done.stdout
    return [entry for entry in read_runs(tmp_path / "runs", "small", "kd") if isinstance(entry, Entry)]


def taught(tmp_path: Path) -> dict[int, Record]:
    found = read_runs(tmp_path / "cache", "small", "teachers")
    return {entry.record.seed: entry.record for entry in found if isinstance(entry, Entry)}


def test_a_run_trains_them_and_the_board_shows_their_mean(
    two_each: Path, here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = run_kd(here, two_each, tmp_path)
    teachers = taught(tmp_path)
    assert sorted(teachers) == [0, 1]
    assert len({teacher.main.sha256 for teacher in teachers.values()}) == 2
    assert {e.record.seed: e.record.teachers[0].sha256 for e in entries} == {
        seed: teacher.main.sha256 for seed, teacher in teachers.items()
    }

    suite = load_suite(str(two_each))
    names = {teacher.main.sha256: teacher_name("resnet8", seed) for seed, teacher in teachers.items()}
    labels, swapped = load_test_labels(suite), dict(zip(names, reversed(names.values()), strict=True))
    entry = next(entry for entry in entries if entry.record.seed == 1)
    given = (entry.record, entry.evidence, suite, labels)
    assert list(record_problems(*given, names, entry.record.curve, entry.others)) == []
    problems = list(record_problems(*given, swapped, entry.record.curve, entry.others))
    assert any(problem.endswith("is 'resnet8', and seed 1 has 'resnet8@1'") for problem in problems)

    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    (board,) = make_boards(read_store(None, tmp_path / "runs"))
    rows = standings(board, [])
    mean = sum(teacher.accuracy for teacher in teachers.values()) / 2
    assert board.teacher_top1("resnet8") == pytest.approx(mean)
    assert networks_of(board, rows, board.pairs[0])[0][1]["top1"] == pytest.approx(mean)
    assert [row.foreign for row in board.rows] == [[], []]
    assert any("Seeds have 2 teachers of each architecture" in note for note in board_notes(board, rows))
    found = [cell for cell in read_store(None, tmp_path / "runs").cells if cell.record.method.name == "kd"]
    chosen = {("resnet8", seed): teachers[seed].main.sha256 or "" for seed in (0, 1)}
    crossed = {("resnet8", seed): teachers[1 - seed].main.sha256 or "" for seed in (0, 1)}
    assert [row.foreign for row in make_rows(found, chosen, 2, board.images)] == [[]]
    assert [len(row.foreign) for row in make_rows(found, crossed, 2, board.images)] == [2]
    [kd] = [s for s in rows if s.row.name == "kd"]
    gap = beside_teacher(kd, board.pairs[0], board.teachers["resnet8"])
    assert gap is not None
    own = [entry.record.accuracy - teachers[entry.record.seed].accuracy for entry in entries]
    assert gap.mean == pytest.approx(sum(own) / 2)


def test_the_end_of_a_run_verification_and_tracking_know_each_seeds_teacher(
    two_each: Path, here: Command, tmp_path: Path
) -> None:
    entries = run_kd(here, two_each, tmp_path)
    cache = {"KDBENCH_CACHE": str(tmp_path / "cache")}
    again = here("run", "--method", "kd", "--suite", two_each, "--no-mlflow", "--json", **cache)
    assert again.returncode == 0, again.stderr
    teachers = taught(tmp_path)
    [line] = json.loads(again.stdout)["methods"][0]["results"]
    assert line["agreement"] is not None
    assert line["teacher_top1"] == pytest.approx(sum(t.accuracy for t in teachers.values()) / 2, abs=0.01)
    assert len({json.dumps(kind_of(entry.record)) for entry in entries}) == 1  # seeds of one pair, to level 3
    for entry in entries:
        done = here("verify", entry.folder, "--suite", two_each, "--level", "2", **cache)
        assert done.returncode == 0, done.stdout + done.stderr
    place = f"sqlite:///{tmp_path / 'tracked.db'}"
    done = here("track", "runs", "--suite", two_each, "--tracking-uri", place, **cache)
    assert done.returncode == 0, done.stdout + done.stderr
    client = MlflowClient(place)
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    agreements = [run.data.metrics.get("agreement") for run in runs if "kdbench.key" in run.data.tags]
    assert sum(value is not None for value in agreements) == 2  # kd's seeds, and not the plain student's
    done = here("explain", "0", "--suite", two_each, "--model", "resnet8@1", **cache)
    assert "teacher resnet8@1 of small" in done.stdout
    shutil.rmtree(tmp_path / "cache" / "small" / "teachers")
    lost = here("verify", entries[0].folder, "--suite", two_each, "--level", "2", **cache)
    assert lost.returncode == 1
    assert "its teacher 'resnet8'" in lost.stdout


def test_rows_under_different_teachers_of_a_seed_are_not_compared(
    two_each: Path, here: Command, tmp_path: Path
) -> None:
    suite, entries = load_suite(str(two_each)), run_kd(here, two_each, tmp_path)
    rows = group(entries, "yours")
    check_teachers(suite, rows)
    first = {
        seed: record.model_copy(update={"seed": 1 - seed}) for seed, record in enumerate(e.record for e in entries)
    }
    other = [Entry(first[n], entry.evidence, entry.folder) for n, entry in enumerate(entries)]
    with pytest.raises(KdbenchError, match="different teachers 'resnet8"):
        check_teachers(suite, [*rows, *group(other, "yours")])


def test_teach_trains_all_of_an_architecture_or_one(two_each: Path, here: Command, tmp_path: Path) -> None:
    cache = {"KDBENCH_CACHE": str(tmp_path / "cache")}
    one = here("teach", "--suite", two_each, "--model", "resnet8@1", **cache)
    assert one.returncode == 0, one.stderr
    assert sorted(taught(tmp_path)) == [1]
    both = here("teach", "--suite", two_each, "--model", "resnet8", "--out", "kept", **cache)
    assert both.returncode == 0, both.stderr
    assert sorted(taught(tmp_path)) == [0, 1]
    assert len(list((tmp_path / "kept").glob("resnet8-*.safetensors"))) == 2
    again = here("teach", "--suite", two_each, "--model", "resnet8@1", "--out", "kept", **cache)
    assert again.returncode == 0, again.stderr
    assert [entry.record.seed for entry in read_results(tmp_path / "kept")] == [0, 1]
    wrong = here("teach", "--suite", two_each, "--model", "resnet8@2", **cache)
    assert wrong.returncode == 2
    assert "has no teacher 'resnet8@2'" in wrong.stdout + wrong.stderr


def test_only_the_teachers_of_submitted_seeds_have_to_be_there(
    small_suite: Path, here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = small_suite.read_text().replace("most_seeds = 10", "most_seeds = 3\nteachers_each = 3 #")
    small_suite.write_text(text)
    run_kd(here, small_suite, tmp_path)
    cache = {"KDBENCH_CACHE": str(tmp_path / "cache")}
    place = "results/small/teachers"
    for name in ("resnet8", "resnet8@1"):
        assert here("teach", "--suite", small_suite, "--model", name, "--out", place, **cache).returncode == 0
    monkeypatch.setattr("kdbench.commands.submit.list_suites", lambda: ["small"])
    done = here("submit", "kd", "vanilla", "--suite", small_suite, "--results", "results", **cache)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(read_results(tmp_path / "results" / "small" / "kd")) == 2


def test_an_estimate_times_each_architecture_once() -> None:
    suite = load_suite("fashion_mnist")
    found = jobs_of(suite, {}, {}, suite.teacher_names, random_dataset(suite.data), torch.device("cpu"))
    assert [(subject.pair.student, count) for subject, _, count in found] == [
        ("resnet56", 5),
        ("resnet20", 5),
        ("wrn_40_2", 5),
    ]


def test_intervals_are_said_to_cover_the_teachers_where_no_two_seeds_share_one() -> None:
    assert covered(5, 5).endswith("so they cover how results vary with the teacher.")
    assert covered(5, 6).endswith("with the teacher; rows of more seeds share them, so theirs do in part.")
    assert covered(1, 5).startswith("One teacher of each architecture")


@pytest.mark.parametrize("given", [None, True, 0, -3, "5", 2.0, [2], 10**59])
def test_a_protocol_that_says_nonsense_has_one_teacher_of_each(given: object) -> None:
    assert teachers_each({"teachers_each": given}) == 1
    assert teachers_each({"teachers_each": 5}) == 5
