"""Methods are compared from records alone: in pairs, inside one protocol, with every pair and seed."""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from kdbench.commands.compare import compare, notes, standing_table
from kdbench.commands.comparison import Comparison, Named, comparison, contrasts_of, measured, part_of, standing_of
from kdbench.commands.validate import validate
from kdbench.errors import KdbenchError
from kdbench.hashing import digest
from kdbench.records.metrics import METRICS, Metric, mean_over_images
from kdbench.records.reader import read_results
from kdbench.records.rows import Row, find_row, with_recorded_content
from kdbench.records.standings import Standing
from kdbench.records.store import Entry, finish_cell, write_results
from kdbench.suite import Suite
from kdbench_leaderboard.boards import make_boards
from kdbench_leaderboard.read import read_store
from kdbench_leaderboard.standings import standings

RESULTS = Path(__file__).parents[3] / "results"
METHODS = ("kd", "crd", "vanilla", "at", "fitnets")
TOP1 = METRICS["top1"]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    shutil.copytree(RESULTS, tmp_path / "results", symlinks=False)
    return tmp_path / "results"


def rows(suite: Suite, *names: str, results: Path = RESULTS) -> list[Row[Entry]]:
    return [find_row(suite, name, Path("nowhere"), results, print) for name in names]


def contrasts(found: list[Row[Entry]], suite: Suite, metric: Metric = TOP1) -> list[Named]:
    return contrasts_of(found, measured(found, suite, metric), metric)


def standing(found: list[Row[Entry]], suite: Suite) -> list[Standing[Row[Entry]]]:
    return standing_of(found, measured(found, suite, TOP1), suite, TOP1)


def compared(*names: str, suite: str = "digits") -> Comparison:
    return comparison(names, part_of(suite), None, RESULTS, None, print)


def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], *methods: str, **options: Any) -> tuple[Any, str]:
    """The JSON of a comparison, and what it says to people."""
    (tmp_path / "runs").mkdir(exist_ok=True)
    said = io.StringIO()
    part = part_of("digits", **{name: options.pop(name) for name in ("pairs", "seeds", "validate") if name in options})
    settings = {"runs": tmp_path / "runs", "results": RESULTS, "metric_name": "top1", **options}
    compare(methods, part, console=Console(file=said, width=300), as_json=True, **settings)
    return json.loads(capsys.readouterr().out), said.getvalue()


def test_differences_are_those_of_the_records_means(digits: Suite) -> None:
    [contrast] = contrasts(rows(digits, "vanilla", "shuffled_logits"), digits)
    mean = {}
    for name in ("vanilla", "shuffled_logits"):
        found = {
            (e.record.teacher, e.record.student, e.record.seed): e for e in read_results(RESULTS / "digits" / name)
        }
        seeds = sorted({seed for *_, seed in found})
        cells = [
            [found.get((p.teacher, p.student, s)) or found[None, p.student, s] for s in seeds] for p in digits.pairs
        ]
        mean[name] = np.mean([[100 * np.mean(e.evidence.rank == 0) for e in seeds if e.evidence] for seeds in cells])
    assert contrast.difference.mean == pytest.approx(mean["vanilla"] - mean["shuffled_logits"])
    assert contrast.verdict == "better"


def test_a_subset_of_methods_gives_the_submatrix(digits: Suite) -> None:
    """And so adding a method does not move the difference between two others: the suite states its prior."""
    whole = {(c.one, c.other): c.difference for c in contrasts(rows(digits, *METHODS), digits)}
    assert len(whole) == 10
    for names in (*combinations(METHODS, 2), *combinations(METHODS, 3)):
        for c in contrasts(rows(digits, *names), digits):
            full = whole[c.one, c.other]
            assert (c.difference.mean, c.difference.low) == pytest.approx((full.mean, full.low))


def test_the_correction_is_over_the_contrasts_shown(digits: Suite) -> None:
    two = contrasts(rows(digits, "kd", "vanilla"), digits)[0]
    five = next(c for c in contrasts(rows(digits, *METHODS), digits) if (c.one, c.other) == ("kd", "vanilla"))
    assert two.adjusted == two.difference.p_value
    assert five.adjusted is not None
    assert two.adjusted is not None
    assert two.adjusted <= five.adjusted <= 10 * two.adjusted


def test_two_copies_of_one_method_share_a_place(digits: Suite) -> None:
    one, other = rows(digits, "crd", "shuffled_logits")
    twin = replace(one, name="twin")
    found = {(c.one, c.other): c for c in contrasts([one, twin, other], digits)}
    assert (found["crd", "twin"].difference.mean, found["crd", "twin"].verdict) == (0, "not separable")
    places = {s.row.name: (s.place, s.ranks) for s in standing([one, twin, other], digits)}
    assert places == {"crd": (1, (1, 2)), "twin": (1, (1, 2)), "shuffled_logits": (3, (3, 3))}


def test_the_board_says_the_same_of_a_difference_and_a_milder_correction_calls_no_less(digits: Suite) -> None:
    store = read_store(RESULTS, None)
    [board] = [b for b in make_boards(store) if b.suite == "digits"]
    on_board = {s.row.title: s for s in standings(board, [])}
    for name in ("kd", "srrl", "at"):
        [c] = contrasts(rows(digits, name, "vanilla"), digits)
        full = on_board[name].against["vanilla"]
        assert (c.difference.mean, c.difference.low) == pytest.approx((full.difference.mean, full.difference.low))
        assert c.adjusted is not None
        assert full.adjusted is not None
        assert c.adjusted <= full.adjusted


def test_a_verdict_that_lacks_power_says_so(digits: Suite) -> None:
    found = contrasts(rows(digits, *METHODS), digits)
    for c in found:
        assert c.bounds is not None
        assert c.difference.low is not None
        assert c.bounds[0] <= c.difference.low
        wide = max(map(abs, c.bounds)) >= 1.0
        assert c.said == ("undecided" if c.verdict == "not separable" and wide else c.verdict)


def test_what_can_be_told_and_what_stands_behind_it_is_said(digits: Suite) -> None:
    said = "\n".join(notes(compared("kd", "vanilla")))
    assert "20 seeds tell two methods of usual variance apart from" in said
    assert "what the suite states" in said
    assert "corrected over the differences shown" in said
    assert "10 teachers of each architecture, so they cover how results vary with the teacher; rows of more" in said


@pytest.mark.parametrize(("names", "suite"), [(("lwf", "vanilla"), "digits-tasks"), (("afd", "vanilla"), "digits")])
def test_teachers_are_spoken_of_only_where_records_have_some(
    names: tuple[str, ...], suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # which has no runs/
    it = compared(*names, suite=suite)
    taught = any(entry.record.teachers for s in it.standing for entry in s.row.cells.values())
    assert ("eacher" in notes(it)[-1]) == taught == (suite == "digits")


def test_each_rows_number_of_seeds_is_said_where_they_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for names, seeds in ((("kd", "crd"), ["20", "10"]), (("kd", "vanilla"), [])):
        it = compared(*names)
        console = Console(file=io.StringIO(), width=200, record=True)
        console.print(standing_table(it.standing, it.suite))
        _, head, *lines, _ = console.export_text().split("\n")
        assert ("seeds" in head) == bool(seeds)
        assert [re.split(r"\s{2,}", line)[2] for line in lines if seeds] == seeds


def test_without_a_stated_prior_two_methods_have_their_own_variances(digits: Suite) -> None:
    found = rows(digits, "kd", "vanilla")
    assert measured(found, digits, METRICS["nll"]).prior is None
    assert measured(found, digits.model_copy(update={"statistics": None}), TOP1).prior is None


def test_nll_is_better_where_it_is_lower(digits: Suite) -> None:
    [contrast] = contrasts(rows(digits, "kd", "crd"), digits, METRICS["nll"])
    assert contrast.difference.mean < 0
    assert contrast.verdict == "better"


def test_the_metrics_shown_are_the_means_of_the_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, _ = run(tmp_path, capsys, "kd", "at")
    for shown in found["methods"]:
        entries = read_results(RESULTS / "digits" / shown["method"])
        for name in ("top1", "nll", "ece"):
            mean = np.mean([getattr(e.record.main.metrics, name) for e in entries])
            assert shown["metrics"][name]["mean"] == pytest.approx(mean)
        assert "top5" not in shown["metrics"]


def test_an_incomplete_method_is_named_and_left_out(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = results / "digits" / "crd"
    write_results(folder, [e for e in read_results(folder) if (e.record.student, e.record.seed) != ("vit_w32", 3)])
    found, said = run(tmp_path, capsys, "kd", "crd", "at", results=results)
    assert "crd is incomplete and not compared: 1 missing, resnet8:vit_w32 seed 3." in said
    assert [m["method"] for m in found["methods"]] == ["kd", "at"]
    assert found["incomplete"] == {"crd": ["resnet8:vit_w32 seed 3"]}
    with pytest.raises(KdbenchError, match="Only 1 of the methods") as caught:
        run(tmp_path, capsys, "kd", "crd", results=results)
    assert "kdbench run --method crd --suite digits" in str(caught.value)


def test_records_of_another_protocol_are_never_mixed_in(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from kdbench.hashing import digest

    folder = results / "digits" / "crd"
    entries = read_results(folder)
    protocol = {**entries[0].record.protocol, "revision": 99}
    record = entries[0].record.model_copy(update={"protocol": protocol, "fingerprint": digest(protocol)}).sealed()
    write_results(folder, [replace(entries[0], record=record), *entries[1:]])
    with pytest.raises(KdbenchError, match="Only 1 of the methods"):
        run(tmp_path, capsys, "kd", "crd", results=results)


def test_methods_under_different_teachers_are_not_compared(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = results / "digits" / "crd"
    entries = []
    for entry in read_results(folder):
        teachers = [t.model_copy(update={"sha256": "0" * 64}) for t in entry.record.teachers]
        entries.append(replace(entry, record=entry.record.model_copy(update={"teachers": teachers}).sealed()))
    write_results(folder, entries)
    with pytest.raises(KdbenchError, match="different teachers"):
        run(tmp_path, capsys, "kd", "crd", results=results)


def test_your_own_records_stand_beside_the_accepted_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for entry in read_results(RESULTS / "digits" / "crd"):
        method = entry.record.method.model_copy(update={"name": "mine"})
        record = entry.record.model_copy(update={"method": method}).sealed()
        finish_cell(tmp_path / "runs" / "digits" / "mine" / record.key[:16], record, entry.evidence)
    found, _ = run(tmp_path, capsys, "mine", "crd")
    assert {m["method"]: m["origin"] for m in found["methods"]} == {"mine": "yours", "crd": "accepted"}
    [contrast] = found["contrasts"]
    assert (contrast["method"], contrast["difference"], contrast["verdict"]) == ("mine (yours)", 0, "not separable")


@pytest.mark.parametrize("name", ["kd[kd_weight=1, temperature=2]", "kd[temperature=2.0,kd_weight=1.0]"])
def test_a_variant_is_found_by_its_values_however_they_are_written(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variant = {"variant": {"kd_weight": 1.0, "temperature": 2.0}, "params_source": "user"}
    for entry in read_results(RESULTS / "digits" / "kd"):
        record = entry.record.model_copy(update=variant).sealed()
        finish_cell(tmp_path / "runs" / "digits" / "kd" / record.key[:16], record, entry.evidence)
    found, _ = run(tmp_path, capsys, name, "crd")
    assert {m["method"] for m in found["methods"]} == {"kd[kd_weight=1.0, temperature=2.0]", "crd"}


def test_rows_stand_in_the_order_of_their_means(digits: Suite) -> None:
    means = [s.metrics["top1"][0] for s in standing(rows(digits, *METHODS), digits)]
    assert means == sorted(means, reverse=True)


@pytest.mark.parametrize("make", [None, Path.touch])
def test_a_folder_of_runs_that_is_none_is_an_error(make: Any, tmp_path: Path, capsys) -> None:
    given = tmp_path / "elsewhere"
    if make:
        make(given)
    with pytest.raises(KdbenchError, match=r"No folder .*elsewhere \(--runs\)"):
        run(tmp_path, capsys, "kd", "crd", runs=given)


def test_a_metric_is_one_row_more_and_comes_from_the_evidence_of_every_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records that do not store it stay valid, are compared by it, and show it on the site."""
    brier = mean_over_images("brier", "Brier", "%", False, 100, lambda e: (1 - np.exp(e.log_probability)) ** 2)
    monkeypatch.setitem(METRICS, "brier", brier)
    found, _ = run(tmp_path, capsys, "kd", "crd", metric_name="brier")
    entries = read_results(RESULTS / "digits" / "kd")
    students = {(e.record.teacher, e.record.student) for e in entries}
    expected = np.mean([np.mean([brier.of(e.evidence) for e in entries]) for _ in students])
    shown = {m["method"]: m["metrics"]["brier"]["mean"] for m in found["methods"]}
    assert shown["kd"] == pytest.approx(expected)
    assert validate(RESULTS, None, Console(quiet=True), as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []
    store = read_store(RESULTS, None)
    assert store.problems == []
    [board] = [b for b in make_boards(store) if b.suite == "digits"]
    places = {s.row.title: s for s in standings(board, [])}
    assert places["kd"].metrics["brier"][0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("methods", "metric", "said"),
    [
        (("kd", "crdd"), "top1", r"it is not installed. Did you mean 'crd'\?$"),
        (("kd", "../kd"), "top1", "No records of method"),
        (("kd", "kd[temperature=9]"), "top1", "No records of 'kd"),
        (("kd", "crd"), "ece", "cannot be compared by 'ece'"),
        (("kd", "crd"), "top5", "cannot be compared by 'top5'"),
        (("kd",), "top1", "two methods or more"),
        (("kd", "kd"), "top1", "two methods or more"),
        (("kd[temperature=2]", "kd[temperature=2.0]"), "top1", "two methods or more"),
        (("kd", "simkd"), "top1", "Compare simkd on other pairs: --pair TEACHER:STUDENT"),
        (("kd", "unheard_of"), "top1", "it is not installed. 'kdbench list methods'"),
    ],
)
def test_a_mistake_is_one_line(
    methods: tuple[str, ...], metric: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KdbenchError, match=said.replace("[", r"\[")) as caught:
        run(tmp_path, capsys, *methods, metric_name=metric)
    assert "\n" not in str(caught.value)


def test_a_suite_that_does_not_state_its_data_is_compared_on_those_of_the_latest_record(
    results: Path, digits: Suite
) -> None:
    unbound, nowhere = digits.with_data_sha256(None), Path("nowhere")
    assert with_recorded_content(unbound, ["kd"], nowhere, results) == digits
    assert with_recorded_content(unbound, ["unheard_of"], nowhere, results) == unbound
    first, *entries = read_results(results / "digits" / "kd")
    other = digits.with_data_sha256("1" * 64)
    about = {"protocol": other.protocol(), "fingerprint": digest(other.protocol()), "finished": "2999-01-01T00:00:00"}
    newest = replace(first, record=first.record.model_copy(update=about).sealed())
    write_results(results / "digits" / "kd", [newest, *entries])
    assert with_recorded_content(unbound, ["at", "kd"], nowhere, results) == other
    assert with_recorded_content(digits, ["kd"], nowhere, results) == digits  # it states its data
    said: list[str] = []
    row = find_row(other, "kd", nowhere, results, said.append)
    assert len(row.cells) == 1
    assert f"kd: {len(entries)} records of another protocol or other data" in said[0]


def test_validation_runs_are_compared_among_themselves(
    results: Path, digits: Suite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = digits.with_validation()
    about = {"protocol": suite.protocol(), "fingerprint": suite.fingerprint, "off_protocol": list(suite.off_protocol)}
    for name in ("kd", "at"):
        for entry in read_results(results / "digits" / name):
            record = entry.record.model_copy(update=about).sealed()
            finish_cell(tmp_path / "runs" / "digits" / name / record.key[:16], record, entry.evidence)
    found, said = run(tmp_path, capsys, "kd", "at", validate=True)
    assert {m["method"]: m["origin"] for m in found["methods"]} == {"kd": "yours", "at": "yours"}
    assert found["off_protocol"] == ["reported on validation"]
    assert said == ""
    with pytest.raises(KdbenchError, match="No records of method 'crd'"):
        run(tmp_path, capsys, "kd", "crd", validate=True)  # which has accepted records alone
    found, _ = run(tmp_path, capsys, "kd", "at")
    assert {m["origin"] for m in found["methods"]} == {"accepted"}


def test_pairs_and_seeds_can_be_fewer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, _ = run(tmp_path, capsys, "kd", "at", pairs=["resnet8:vit_w32"], seeds=2)
    entries = [e for e in read_results(RESULTS / "digits" / "at") if e.record.student == "vit_w32"]
    mean = np.mean([e.record.main.metrics.top1 for e in entries if e.record.seed < 2])
    assert {m["method"]: m["metrics"]["top1"]["mean"] for m in found["methods"]}["at"] == pytest.approx(mean)
    with pytest.raises(KdbenchError, match="has no pair 'a:b'"):
        run(tmp_path, capsys, "kd", "at", pairs=["a:b"])
