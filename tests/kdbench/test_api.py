"""kdbench from Python: its tables say what the board and the command line say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import kdbench
from kdbench import KdbenchError
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Pair
from kdbench_leaderboard.boards import make_boards
from kdbench_leaderboard.read import read_store
from kdbench_leaderboard.standings import standings

RESULTS = Path(__file__).parents[2] / "results"
SUITES = sorted(path.name for path in RESULTS.iterdir() if path.is_dir())


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """No records of one's own."""
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def boards() -> dict[str, list]:
    """How accepted rows stand, by suite."""
    return {board.suite: standings(board, []) for board in make_boards(read_store(RESULTS, None))}


@pytest.mark.parametrize("suite", SUITES)
def test_a_groupby_equals_the_board(suite: str, boards: dict[str, list], nowhere: Path) -> None:
    found = kdbench.load_results(RESULTS, suite, runs=nowhere)
    by_method = found.groupby("method")
    means = by_method[["top1", "nll", "ece"]].mean()
    rows = boards[suite]
    assert len(by_method) == len(rows)
    assert len({pair for s in rows for pair, result in s.pairs.items() if result.cells}) >= 1
    for s in (s for s in rows if s.place is not None):
        for metric in ("top1", "nll", "ece"):
            assert means.loc[s.row.name, metric] == pytest.approx(s.metrics[metric][0])


@pytest.mark.parametrize("suite", SUITES)
def test_the_mean_of_a_pair_equals_that_of_the_board(suite: str, boards: dict[str, list], nowhere: Path) -> None:
    found = kdbench.load_results(RESULTS, suite, runs=nowhere)
    ranked_by = "average" if load_suite(suite).tasks else "top1"
    means = found.groupby(["method", "teacher", "student"])[ranked_by].mean()
    shown = [(s.row.name, pair, r) for s in boards[suite] for pair, r in s.pairs.items() if r.accuracy]
    assert shown  # of rows that lack other pairs, too
    for name, pair, result in shown:
        assert means[name, *pair] == pytest.approx(result.accuracy[0])


def test_a_method_without_a_teacher_stands_under_every_pair_of_its_student(
    digits: Suite, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    another = Pair(teacher="resnet8", student="resnet8_w4")
    assert another not in digits.pairs
    suite = digits.model_copy(update={"pairs": (*digits.pairs, another)})
    monkeypatch.setattr("kdbench.api.part_of", lambda name: suite)
    found = kdbench.load_results(RESULTS, "digits", runs=nowhere, methods=["vanilla"])
    same = found[found.student == "resnet8_w4"].pivot_table(index="seed", columns="teacher", values="top1")
    assert list(same.columns) == ["resnet8", "vit"]
    assert (same.resnet8 == same.vit).all()


def test_what_is_not_applicable_has_a_reason_and_no_numbers(nowhere: Path) -> None:
    found = kdbench.load_results(RESULTS, "digits", runs=nowhere, methods=["fsp"])
    assert set(found.status) == {"not_applicable"}
    assert found.reason.notna().all()


def test_accuracies_of_classes_have_the_accuracy_as_their_mean_over_images(nowhere: Path) -> None:
    classes = kdbench.load_class_results(RESULTS, "digits", runs=nowhere, methods=["kd"])
    found = kdbench.load_results(RESULTS, "digits", runs=nowhere, methods=["kd"])
    place = ["teacher", "student", "seed"]
    classes["right"] = classes["images"] * classes.top1 / 100
    sums = classes.groupby(place)[["images", "right"]].sum()
    pd.testing.assert_series_equal(
        100 * sums["right"] / sums["images"], found.set_index(place).top1.sort_index(), check_names=False
    )
    balanced = classes.groupby(place).top1.mean()
    pd.testing.assert_series_equal(balanced, found.set_index(place).balanced.sort_index(), check_names=False)


def test_a_student_agrees_with_its_teacher_more_under_distillation_than_alone(nowhere: Path) -> None:
    found = kdbench.load_results(RESULTS, "cifar100-quarter", runs=nowhere, methods=["kd", "dist", "vanilla"])
    by_method = found.groupby("method").agreement.mean()
    assert by_method.dist > by_method.kd > 25
    assert found[found.method == "vanilla"].agreement.isna().all()  # it has no teacher


def test_compare_says_what_the_command_says(nowhere: Path) -> None:
    found = kdbench.compare(["kd", "crd", "vanilla"], "cifar100-quarter", runs=nowhere, results=RESULTS)
    assert list(found.standing.method) == ["crd", "kd", "vanilla"]
    assert list(found.standing["rank"]) == [1, 2, 3]
    row = found.differences.set_index(["method", "against"]).loc[("kd", "vanilla")]
    assert row.verdict == "better"
    assert row.difference == pytest.approx(found.standing.set_index("method").top1.diff(-1)["kd"])
    assert any("80 % power" in note for note in found.notes)


def test_a_run_returns_its_cells_and_trains_none_twice(tmp_path: Path) -> None:
    def run() -> pd.DataFrame:
        part = {"pairs": ["resnet8:resnet8_w8"], "seeds": 1, "epochs": 1, "settings": {"temperature": 2}}
        return kdbench.run(["kd"], out=tmp_path / "runs", device="cpu", workers=1, quiet=True, **part)

    found = run()
    assert set(found.method) == {"kd[temperature=2.0]", "vanilla"}
    assert found.top1.between(5, 100).all()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("record.json")}
    pd.testing.assert_frame_equal(run(), found)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("record.json")} == before


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: kdbench.load_results(suite="digitz"), "digits"),
        (lambda: kdbench.load_results("no/such/folder"), "No folder"),
        (lambda: kdbench.compare(["kd"], "digits"), "two methods or more"),
        (lambda: kdbench.run(["kdd"]), "Did you mean 'kd'"),
        (lambda: kdbench.run(["kd"], pairs=["a:b"]), "has no pair"),
    ],
)
def test_a_mistake_is_one_line(call, said: str) -> None:
    with pytest.raises(KdbenchError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_tables_import_no_torch() -> None:
    code = f"import sys, kdbench; kdbench.load_results({str(RESULTS)!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
