"""Validation images alone decide, every trial is an ordinary cell, and a mistake is one line."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from kdbench.cli.app import main
from kdbench.commands import tune as tune_module
from kdbench.data import small
from kdbench.errors import KdbenchError
from kdbench.records.store import Entry
from kdbench.running import study
from kdbench.running.engines.events import Machine
from kdbench.running.fleet import Outcome, train
from kdbench.running.plan import Cell, plan_cells
from kdbench.running.teachers import find_teacher
from kdbench.running.tuning import Trial
from kdbench.suites import load_suite
from tests.kdbench.commands.tuning.searches import SPACE, Tune, records


def test_the_best_mean_over_the_validation_images_is_chosen(run: Tune, tmp_path: Path) -> None:
    code, found, said = run("kd", seeds="2")
    assert code == 0
    [kd] = found["methods"]
    assert [trial["trial"] for trial in kd["trials"]] == [0, 1, 2]
    assert kd["trials"][0]["params"] == {"kd_weight": 0.9}
    entries = records(tmp_path / "runs")
    assert len(entries) == 6
    for trial in kd["trials"]:
        mine = [e for e in entries if e.record.params["kd_weight"] == trial["params"]["kd_weight"]]
        assert {e.record.seed for e in mine} == {0, 1}
        for entry in mine:
            assert entry.record.off_protocol == ["reported on validation"]
            assert entry.evidence is not None
            assert len(entry.evidence.rank) == 200
        assert trial["accuracy"] == pytest.approx(100 * np.mean([e.evidence.rank == 0 for e in mine if e.evidence]))
    best = max(kd["trials"], key=lambda trial: (trial["accuracy"], -trial["trial"]))
    assert kd["best"] == best["trial"]
    assert kd["override"] == {"params": best["params"] if best["trial"] else {}, "source": "tuned", "trials": 2}
    [line] = [line for line in said.splitlines() if " best" in line]
    assert line.split()[:3] == [str(best["trial"]), str(best["params"]["kd_weight"]), f"{best['accuracy']:.2f}"]
    assert "[methods.kd]\nparams = {" in said
    assert 'source = "tuned"\ntrials = 2' in said


def test_the_test_images_have_no_part_in_it(
    run: Tune, quick_suite: Path, cells_here: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Garbage instead of the test set: the same proposals, accuracies, and choice."""
    monkeypatch.setattr(study, "STARTUP", 1)  # so that TPE goes by the results
    text = re.sub(r"(?m)^(test_labels_)?sha256 = .*\n", "", quick_suite.read_text())
    quick_suite.write_text(text)
    real, test_parts = small.read_in_order, []

    def poisoned(*arguments: Any) -> Any:
        train, (images, labels) = real(*arguments)
        draw = np.random.default_rng(0)
        test_parts.append(draw.integers(0, 256, images.shape, dtype=np.uint8))
        return [train, (test_parts[-1], draw.permutation(labels))]

    small.load_data.cache_clear()
    _, clean, _ = run("kd", trials=4, sampler="tpe", runs="clean")
    keys = {cell.key for cell in cells_here}
    monkeypatch.setattr(small, "read_in_order", poisoned)
    small.load_data.cache_clear()
    _, garbage, _ = run("kd", trials=4, sampler="tpe", runs="poisoned")
    small.load_data.cache_clear()
    assert test_parts
    assert keys.isdisjoint(cell.key for cell in cells_here[len(keys) :])  # the data's hash is another
    assert len(cells_here) == 10
    assert clean["methods"] == garbage["methods"]


OWN = """
[methods.kd]
params = { temperature = 3 }
pairs = { "resnet8:resnet8_w2" = { kd_weight = 0, ce_weight = 0 } }
"""


def test_the_written_suite_gives_records_that_say_how_they_were_tuned(
    run: Tune, quick_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trial, "accuracy", lambda trial, entries: 50.0 + trial.number)  # the last one is the best
    text = quick_suite.read_text()
    quick_suite.write_text(text[: text.index("[methods.")] + OWN)
    _, found, said = run("kd", space=["kd_weight=2,1"], out=tmp_path / "mine.toml")
    assert found["written"] == str(tmp_path / "mine.toml")
    assert f"kdbench run --method kd --suite {tmp_path / 'mine.toml'}" in said
    [kd] = found["methods"]
    assert kd["trials"][0]["params"] == {"kd_weight": 0}
    assert kd["best"] == 2
    suite = load_suite(str(tmp_path / "mine.toml"))
    teacher = find_teacher(suite, "resnet8", None, print)
    assert teacher is not None
    [cell] = plan_cells(suite, {"kd": {}}, suite.pairs, [0], {"resnet8": teacher})
    assert cell.params == {"kd_weight": 1, "temperature": 3, "ce_weight": 0}
    outcome = Outcome()
    train([cell], tmp_path / "again", Machine(["cpu"], 1), Console(quiet=True), outcome)
    [entry] = outcome.entries.values()
    assert (entry.record.params_source, entry.record.trials) == ("tuned", 2)
    assert (entry.record.variant, entry.record.off_protocol) == ({}, [])


def test_a_default_that_nothing_beats_is_chosen(run: Tune) -> None:
    _, found, said = run("kd", space=["kd_weight=0.9"], trials=5)
    [kd] = found["methods"]
    assert [trial["accuracy"] for trial in kd["trials"]] == [kd["trials"][0]["accuracy"]] * 2
    assert kd["best"] == 0
    assert kd["override"] == {"params": {}, "source": "tuned", "trials": 1}
    assert "its own setting and 1 trials (all that there are)" in said


def test_methods_have_spaces_of_their_own_and_the_same_budget(run: Tune, cells_here: list[Cell]) -> None:
    _, found, _ = run(
        "kd", "label_smoothing", "dkd", space=["temperature=2,4,8", "kd.temperature=1..2", "smoothing=0..0.5"]
    )
    values = {row["method"]: [trial["params"] for trial in row["trials"][1:]] for row in found["methods"]}
    assert {name: len(trials) for name, trials in values.items()} == {"kd": 2, "label_smoothing": 2, "dkd": 2}
    assert all(1 <= params["temperature"] <= 2 for params in values["kd"])
    assert all(params["temperature"] in (2, 4, 8) for params in values["dkd"])
    assert all(0 <= params["smoothing"] <= 0.5 for params in values["label_smoothing"])
    assert len(cells_here) == len({cell.key for cell in cells_here})  # a choice that is tried twice is cells_here once


def test_a_second_search_trains_nothing_and_a_larger_one_only_what_is_new(run: Tune, cells_here: list[Cell]) -> None:
    _, first, _ = run("kd")
    assert len(cells_here) == 3
    _, again, _ = run("kd")
    assert len(cells_here) == 3
    assert again == first
    _, more, _ = run("kd", trials=3)
    assert len(cells_here) == 4
    assert more["methods"][0]["trials"][:3] == first["methods"][0]["trials"]


def test_every_trial_is_mirrored(run: Tune, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mirrored: list[str] = []

    class Mirror:
        def add(self, entry: Entry, teacher: Any) -> None:
            assert teacher is None  # it was evaluated on other images
            mirrored.append(entry.record.key)

    monkeypatch.setattr(tune_module, "open_mirror", lambda request, notice: nullcontext(Mirror()))
    run("kd")
    assert sorted(mirrored) == sorted(entry.record.key for entry in records(tmp_path / "runs"))


def test_a_budget_gives_every_method_as_many_trials_as_its_time_holds(
    run: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdbench.commands.tune.estimate_seconds", lambda *given: 20.0)  # of one setting of both
    _, found, said = run("kd", "label_smoothing", space=[SPACE, "label_smoothing.smoothing=0.1..0.5"], budget="65s")
    assert [len(row["trials"]) for row in found["methods"]] == [3, 3]  # the default among them
    assert "One setting of every method takes about 20 s: 2 trials beside the defaults." in said
    with pytest.raises(KdbenchError, match=r"--budget 30 s: one setting .* about 20 s, .* Give 44 s or more"):
        run("kd", budget="30s")


MISTAKES = [
    ("", "Name a parameter and its values, such as --space kd_weight=log:0.1..10."),
    ("--space kd_weight", "write param=values or method.param=values"),
    ("--space kd_weight=", "the space is empty"),
    ("--space kd_weight=10..0.1", "the space is empty: the lower end comes first"),
    ("--space kd_weight=lgo:1..2", "there is no scale 'lgo'. Did you mean 'log'?"),
    ("--space kd_weight=log:0..1", "a logarithmic scale begins above 0"),
    ("--space kd_weight=a..b", "are not two numbers"),
    ("--space kd_weight=0..inf", "finite"),
    ("--space kd_weight=int:0..0.5", "are not two whole numbers"),
    ("--space kd_weight=log:3", "write its two ends"),
    ("--space kd_weight=1,,2", "nothing between two commas"),
    ("--space kd_weight=[1],[2]", "single values are numbers"),
    ("--space kd_weigth=0..1", "kd has no parameter 'kd_weigth'. Did you mean 'kd_weight'?"),
    ("--space crd.kd_weight=0..1", "'crd' is not among the methods to tune. Known: kd."),
    ("--space kd.weight=0..1", "kd has no parameter 'weight'"),
    ("--space kd_weight=0..1 --space kd_weight=1", "'kd_weight' is given twice"),
    ("--space kd_weight=-1..1", "greater than or equal to 0, not -1.0"),
    ("--space temperature=hot,cold", "valid number, not 'hot'"),
    ("--space temperature=true", "valid number, not True"),
    ("crd --space negatives=1..9 --space kd_weight=0..1", "'negatives' is a whole number. Write negatives=int:1..9."),
    ("crd --space kd.kd_weight=0..1", "There is nothing to choose from for crd. Add --space crd.PARAM=VALUES. Known: "),
    ("vanilla --space kd_weight=0..1", "vanilla has no parameters, so there is nothing to choose. Leave it out."),
    (f"--space {SPACE} --trials 0", "--trials 0: a search needs 1 or more."),
    (f"--space {SPACE} --trials 3 --budget 3m", "Leave one out."),
    (f"--space {SPACE} --budget soon", "--budget soon"),
    (f"--space {SPACE} --sampler bayes", "Unknown sampler 'bayes' (--sampler). Known: grid, random, tpe."),
    ("--space kd_weight=1,2,3 --space temperature=1,2,3 --sampler grid", "has 9 points, more than --trials 8"),
    ("--space kd_weight=0..1 --sampler grid --trials 1", "has at least 2 points, more than --trials 1"),
    (f"--space {SPACE} --out mine", "ends in .toml, such as mine.toml"),
    (f"--space {SPACE} --out digits.toml", "'digits' is a built-in suite"),
    (f"--space {SPACE} --out no/mine.toml", "there is no folder no"),
    (f"--space {SPACE} --out there.toml", "it is there already"),
    (f"--space {SPACE} --suite imagenet", "have no validation part yet"),
    (f"--space {SPACE} --results nowhere", "No folder nowhere (--results)"),
    (f"--space {SPACE} --runs /proc/nowhere --seeds 1", "/proc/nowhere"),
]


@pytest.mark.parametrize(("arguments", "said"), MISTAKES, ids=[arguments for arguments, _ in MISTAKES])
def test_a_mistake_is_one_line_before_any_training(
    arguments: str,
    said: str,
    cells_here: list[Cell],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "there.toml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["kdbench", "tune", "kd", *arguments.split(), "--no-mlflow"])
    with pytest.raises(SystemExit) as stopped:
        main()
    errors = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said in errors
    assert errors.startswith("kdbench: ")
    assert len(errors.strip().splitlines()) == 1
    assert cells_here == []
    assert [path.name for path in tmp_path.iterdir()] == ["there.toml"]


def test_help_imports_neither_torch_nor_optuna_and_their_lack_is_said(tmp_path: Path) -> None:
    without = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'timm', 'optuna'))); "
        "from kdbench.cli.app import main; main()"
    )

    def said(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", without, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    assert "tune" in said("--help").stdout
    assert "--space" in said("tune", "--help").stdout
    lacking = said("tune", "kd", "--space", SPACE)
    assert lacking.returncode == 2
    assert lacking.stderr == (
        "kdbench: kdbench tune needs Optuna, which is not installed. Run: pip install 'kdbench[tune]'\n"
    )


def test_two_searches_of_one_kind_do_not_share_a_file(run: Tune, tmp_path: Path) -> None:
    """Another space, sampler or seed is another search; a damaged file is named."""
    run("kd")
    run("kd", space=["kd_weight=log:0.1..9"])
    run("kd", sampler="tpe")
    run("kd", seeds="1,")
    files = sorted((tmp_path / "runs" / "tune" / "small").glob("*.jsonl"))
    assert len(files) == 4
    for file in files:
        file.write_text("non\nsense\n")
    with pytest.raises(KdbenchError, match=r"tune/small/kd-.*\.jsonl is no study that Optuna can read"):
        run("kd")
