"""From a run to the board: submit takes what holds."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kdbench.checks import NAMES
from kdbench.commands.submission import restamped
from kdbench.commands.submit import parse_source, submit_methods
from kdbench.errors import KdbenchError
from kdbench.records.curves import read_curves, write_curves
from kdbench.records.reader import read_results
from kdbench.records.store import Entry, finish_cell, read_runs
from kdbench.records.verification import read_verified
from kdbench.records.withdrawn import Withdrawn, read_withdrawn
from tests.submitting import first_cell, rewrite, submit, verify_at

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_submit_keeps_evidence_and_curves_and_says_what_to_propose(ran: Path) -> None:
    said = submit(ran)
    assert "kd: 2 records and 0 cost records checked" in said
    assert f"Check:   kdbench validate {ran / 'results'}" in said
    assert "- `kd` version 1 (kdbench" in said
    folder = ran / "results" / "small" / "kd"
    mine = {e.record.key: e.record for e in read_runs(ran / "runs", "small", "kd") if isinstance(e, Entry)}
    accepted = {e.record.key: e.record for e in read_results(folder)}
    assert {k: r.evidence_sha256 for k, r in accepted.items()} == {k: r.evidence_sha256 for k, r in mine.items()}
    assert all(set(r.method.checks or {}) == set(NAMES) for r in accepted.values())
    assert read_curves(folder / "curves.parquet") == {k: r.curve for k, r in mine.items()}
    key = next(iter(mine))

    # What was accepted is verified from the results alone.
    for level, holds in ((1, "follow from its evidence"), (2, "losses are identical"), (3, "predictions identical")):
        code, said = verify_at(ran, f"{folder / 'records.jsonl'}:{key[:12]}", level)
        assert code == 0, said
        assert f"Level {level} holds: " in said
        assert holds in said
    [verified] = read_verified(folder)
    assert (verified.key, verified.level, verified.record_sha256) == (key, 3, accepted[key].sha256)
    assert not [v for v in verified.environment.values() if os.sep + "home" in v or os.uname().nodename == v]

    # Submitting the same again changes nothing and asks nothing.
    before = (folder / "records.jsonl").read_bytes()
    submit(ran)
    assert (folder / "records.jsonl").read_bytes() == before
    assert read_verified(folder) == [verified]


def test_replacing_accepted_records_wants_a_reason(ran: Path) -> None:
    submit(ran)
    entry = first_cell(ran)
    assert entry.record.cost is not None
    cost = entry.record.cost.model_copy(update={"train_seconds": 1.0})
    rewrite(entry, cost=cost)
    with pytest.raises(KdbenchError, match=r"1 accepted records.*--supersedes"):
        submit(ran)
    submit(ran, "timed anew")
    [(_, line)] = list(read_withdrawn(ran / "results" / "WITHDRAWN.md"))
    assert isinstance(line, Withdrawn)
    assert (line.row, line.version, line.status, line.reason) == ("kd", 1, "superseded", "timed anew")


def test_a_record_that_took_its_best_epoch_is_refused(ran: Path) -> None:
    entry = first_cell(ran)
    assert entry.record.curve is not None
    tops = entry.record.curve["test_top1"]
    curve = {**entry.record.curve, "test_top1": [*tops[:-1], tops[-1] - 1]}
    rewrite(entry, curve=curve)
    with pytest.raises(KdbenchError, match="the last epoch counts"):
        submit(ran)
    assert not (ran / "results" / "small" / "kd").exists()


def test_further_seeds_of_a_reference_come_along(ran: Path) -> None:
    suite = ran / "small.toml"
    suite.write_text(suite.read_text().replace("seeds = 2", "seeds = 1"))
    assert "kd: 2 records" in submit(ran)
    assert {entry.record.seed for entry in read_results(ran / "results" / "small" / "kd")} == {0, 1}


def test_seeds_that_a_method_may_have_come_beside_its_accepted_ones(
    ran: Path, here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdbench.records.rows.REFERENCES", ())
    monkeypatch.setattr("kdbench.commands.submission.REFERENCES", ())
    monkeypatch.setattr("kdbench.records.gate.REFERENCES", ())
    monkeypatch.setattr("kdbench.records.gate_rows.REFERENCES", ())
    suite, place = ran / "small.toml", ran / "results" / "small" / "kd"
    submit(ran)
    first = {entry.record.seed: entry.record.sha256 for entry in read_results(place)}
    shutil.rmtree(ran / "runs" / "small" / "kd")
    with pytest.raises(KdbenchError, match=r"runs has no record that .*results lacks\. Run: kdbench run"):
        submit(ran)
    text = suite.read_text()
    assert "most_seeds = 10" in text
    done = here("run", "-m", "kd", "--suite", suite, "--seeds", "2,3", "--no-mlflow", "--results", "results")
    assert done.returncode == 0, done.stderr
    suite.write_text(text.replace("most_seeds = 10", "most_seeds = 5"))
    with pytest.raises(KdbenchError, match="has no record that"):
        submit(ran)  # a number between is left out
    suite.write_text(text.replace("most_seeds = 10", "most_seeds = 4"))
    assert "kd: 4 records" in submit(ran)
    now = {entry.record.seed: entry.record.sha256 for entry in read_results(place)}
    assert set(now) == {0, 1, 2, 3}
    assert first.items() <= now.items()  # neither trained nor stamped again
    assert all(entry.record.curve for entry in read_results(place, with_curves=True))


def test_a_single_accepted_record_is_not_replaced_by_a_luckier_one(
    ran: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(ran)
    place = ran / "results" / "small" / "kd"
    accepted = {entry.record.seed: entry.record.sha256 for entry in read_results(place)}
    for seed, entry in enumerate([e for e in read_runs(ran / "runs", "small", "kd") if isinstance(e, Entry)]):
        if seed:
            shutil.rmtree(entry.folder)
        else:
            rewrite(entry, finished="2030-01-02T03:04:05+00:00")
    with pytest.raises(KdbenchError, match="has no record that"):
        submit(ran, "it was unlucky")
    assert accepted == {entry.record.seed: entry.record.sha256 for entry in read_results(place)}


def test_a_missing_seed_is_refused(ran: Path) -> None:
    shutil.rmtree(first_cell(ran).folder)
    with pytest.raises(
        KdbenchError, match=r"1 of 2 cells have no valid record.*Run: kdbench run --method kd --suite small$"
    ):
        submit(ran)


def add_pair(suite: Path) -> None:
    """The small suite with a second student under its teacher."""
    text = suite.read_text()
    suite.write_text(text.replace('"resnet8:resnet8_w2"]', '"resnet8:resnet8_w2", "resnet8:resnet8_w4"]', 1))


def test_pairs_are_submitted_one_by_one_when_they_are_named(ran: Path, here: Command) -> None:
    suite, place = ran / "small.toml", ran / "results" / "small" / "kd"
    add_pair(suite)
    with pytest.raises(
        KdbenchError, match=r"2 of 4 .*--pair resnet8:resnet8_w4; or submit whole pairs alone, with --p"
    ):
        submit(ran)
    with pytest.raises(KdbenchError, match=r"has no pair 'resnet8:resnet8_w5' \(--pair\)\. Did you mean"):
        submit(ran, pairs=["resnet8:resnet8_w5"])
    said = submit(ran, pairs=["resnet8:resnet8_w2"])
    assert "kd: 2 records" in said
    assert "%, 1 of 2 pairs" in said
    first = {entry.record.key: entry.record.sha256 for entry in read_results(place)}
    with pytest.raises(KdbenchError, match=r"2 of 2 cells .*Run: .* --suite small --pair resnet8:resnet8_w4$"):
        submit(ran, pairs=["resnet8:resnet8_w4"])
    done = here(
        "run", "-m", "kd", "--suite", suite, "--pair", "resnet8:resnet8_w4", "--no-mlflow", "--results", "results"
    )
    assert done.returncode == 0, done.stderr
    for entry in [e for e in read_runs(ran / "runs", "small", "kd") if isinstance(e, Entry)]:
        if entry.record.student == "resnet8_w2":
            rewrite(entry, finished="2030-01-02T03:04:05+00:00")  # trained again meanwhile
    said = submit(ran, pairs=["resnet8:resnet8_w4"])
    assert "kd: 4 records" in said
    assert " pairs" not in said.partition("Results on")[2]  # the row is whole
    now = {entry.record.key: entry.record.sha256 for entry in read_results(place)}
    assert len(now) == 4
    assert first.items() <= now.items()  # the accepted pair stands


def test_further_seeds_of_a_reference_on_one_pair_stay_when_another_has_fewer(ran: Path, here: Command) -> None:
    suite = ran / "small.toml"
    add_pair(suite)
    suite.write_text(suite.read_text().replace("seeds = 2", "seeds = 1", 1))
    assert "kd: 2 records" in submit(ran, pairs=["resnet8:resnet8_w2"])
    options = ("--pair", "resnet8:resnet8_w4", "--no-mlflow", "--results", "results")
    done = here("run", "-m", "kd", "--suite", suite, *options)
    assert done.returncode == 0, done.stderr
    assert "kd: 3 records" in submit(ran)
    found = [entry.record for entry in read_results(ran / "results" / "small" / "kd")]
    assert sorted((r.student, r.seed) for r in found) == [("resnet8_w2", 0), ("resnet8_w2", 1), ("resnet8_w4", 0)]


def test_a_pair_of_a_plain_student_stays_beside_another_one(ran: Path, here: Command) -> None:
    suite = ran / "small.toml"
    add_pair(suite)
    console = Console(file=io.StringIO())
    given = (["vanilla"], str(suite), ran / "runs", ran / "results", None, console, None)
    done = here("run", "-m", "vanilla", "--suite", suite, "--no-mlflow", "--results", "results")
    assert done.returncode == 0, done.stderr
    submit_methods(*given, ["resnet8:resnet8_w2"])
    submit_methods(*given, ["resnet8:resnet8_w4"])
    found = read_results(ran / "results" / "small" / "vanilla")
    assert {entry.record.student for entry in found} == {"resnet8_w2", "resnet8_w4"}


def test_a_teacher_that_the_board_lacks_is_refused(ran: Path) -> None:
    shutil.copytree(ran / "results" / "small" / "teachers", ran / "teachers")
    for entry in read_results(ran / "teachers"):  # it is in the cache, as after training it here
        from kdbench.cache import cache_folder
        from kdbench.records.store import weights_name

        place = cache_folder() / "small" / "teachers" / entry.record.key[:16]
        if not place.exists():
            finish_cell(place, entry.record, entry.evidence)
            name = weights_name(entry.record.student, entry.record.main.sha256 or "")
            shutil.copyfile(ran / "teachers" / name, place / name)
    shutil.rmtree(ran / "results" / "small" / "teachers")
    with pytest.raises(KdbenchError, match=r"lack the teacher 'resnet8'.*kdbench teach"):
        submit(ran)


def test_curves_survive_their_file(tmp_path: Path) -> None:
    curves = {"b": {"loss": [0.1, 1 / 3], "test_top1": [9.0]}, "a": {"loss": []}}
    write_curves(tmp_path / "c.parquet", curves)
    assert read_curves(tmp_path / "c.parquet") == curves
    write_curves(tmp_path / "none.parquet", {})
    assert read_curves(tmp_path / "none.parquet") == read_curves(tmp_path / "missing.parquet") == {}


def test_a_suite_of_ones_own_is_refused_before_anything_is_looked_for(small_suite: Path) -> None:
    with pytest.raises(KdbenchError, match="is your own: the board takes the built-in ones"):
        submit_methods(
            ["no_such_method"], str(small_suite), Path("nowhere"), Path("nowhere"), None, Console(quiet=True)
        )


@pytest.mark.parametrize("text", ["https://github.com/a/b", "x@" + "0" * 40, "https://a:b@c.org/x@" + "0" * 40, "@"])
def test_a_source_of_another_form_is_one_line(text: str) -> None:
    with pytest.raises(KdbenchError, match="write ADDRESS@COMMIT"):
        parse_source(text)


def test_a_record_of_a_foreign_method_takes_its_source_and_one_of_kdbench_does_not(ran: Path) -> None:
    from types import SimpleNamespace

    entry = first_cell(ran)
    cell: Any = SimpleNamespace(variant={}, params_source="paper", trials=0)
    source = parse_source("https://github.com/ada/mine@" + "0" * 40)
    assert restamped(entry, cell, source).record.method.repository is None
    mine = entry.record.method.model_copy(update={"distribution": "mine"})
    foreign = replace(entry, record=entry.record.model_copy(update={"method": mine}))
    found = restamped(foreign, cell, source).record.method
    assert (found.repository, found.commit) == source


def test_submitting_completes_what_a_killed_one_left(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submit(ran)
    rewrite(first_cell(ran), finished="2026-01-02T00:00:00+00:00")
    real = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if self.parts[-4:-1] == (".submitted", "small", "kd"):
            raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            submit(ran, "timed anew")
    submit(ran)  # no reason is asked for: it was given
    assert len(list(read_withdrawn(ran / "results" / "WITHDRAWN.md"))) == 1
    assert "2026-01-02" in {e.record.finished[:10] for e in read_results(ran / "results" / "small" / "kd")}
    assert not [path for path in (ran / "results").iterdir() if path.name.startswith(".")]
