"""The gate lets the accepted results through, and names file and line of everything else."""

from __future__ import annotations

import io
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from kdbench.commands.validate import folder_problems, validate
from kdbench.errors import KdbenchError
from kdbench.records.guard import MAX_LINE
from kdbench.records.reader import Reader, read_results
from kdbench.records.record import Record
from kdbench.records.store import Entry, write_results
from kdbench.records.withdrawn import add_superseded, place_of
from kdbench.suites import SUITES

RESULTS = Path(__file__).parents[3] / "results"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The plain student's accepted records on digits, with the teachers."""
    folder = tmp_path / "results"
    shutil.copytree(RESULTS / "digits" / "vanilla", folder / "digits" / "vanilla")
    shutil.copytree(SUITES / "digits" / "teachers", folder / "digits" / "teachers")
    return folder


def problems(results: Path) -> list[str]:
    records: list[tuple[str, Record]] = []
    found = [str(problem) for problem in folder_problems(results, records)]
    assert all("\n" not in line for line in found)
    return found


def edit(results: Path, change: Callable[[list[Entry]], list[Entry]], method: str = "vanilla") -> None:
    folder = results / "digits" / method
    entries = [entry for entry in Reader().contents(folder).entries() if isinstance(entry, Entry)]
    write_results(folder, change(entries))


def first_changed(**changes: Any) -> Callable[[list[Entry]], list[Entry]]:
    """The first record with other content, its own hash made to fit."""

    def change(entries: list[Entry]) -> list[Entry]:
        record = entries[0].record.model_copy(update=changes).sealed()
        return [replace(entries[0], record=record), *entries[1:]]

    return change


@pytest.mark.parametrize("inside", [None, "digits", "digits/kd", "notes"])
def test_where_nothing_is_to_be_checked_nothing_is_said_to_hold(inside: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    (folder / (inside or "")).mkdir(parents=True)
    with pytest.raises(KdbenchError, match="holds no results"):
        validate(folder, None, Console(quiet=True), as_json=False)


def test_the_accepted_results_pass() -> None:
    assert problems(RESULTS) == []


def test_forged_metrics_with_a_fitting_hash_do_not_follow_from_the_evidence(results: Path) -> None:
    def forge(entries: list[Entry]) -> list[Entry]:
        network = entries[0].record.main
        better = network.model_copy(update={"metrics": network.metrics.model_copy(update={"top1": 99.0})})
        return first_changed(networks=[better])(entries)

    edit(results, forge)
    assert any("vanilla/records.jsonl:1: metrics.top1 is 99.0, its evidence says" in line for line in problems(results))


def test_forged_evidence_contradicts_the_suites_labels(results: Path) -> None:
    def forge(entries: list[Entry]) -> list[Entry]:
        evidence = entries[0].evidence
        assert evidence is not None
        perfect = replace(evidence, rank=np.zeros_like(evidence.rank))
        record = entries[0].record.model_copy(update={"evidence_sha256": perfect.sha256()}).sealed()
        return [Entry(record, perfect, entries[0].folder), *entries[1:]]

    edit(results, forge)
    [line] = problems(results)
    assert "records.jsonl:1: The evidence does not belong to the suite's test labels" in line


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"key": "0" * 64}, "its key does not follow"),
        ({"seed": 7}, "its key does not follow"),
        ({"params": {"temperature": 1.0}}, "its key does not follow"),
        ({"off_protocol": ["epochs: 1"]}, "off the protocol: epochs: 1"),
        ({"suite": "cifar100"}, "it belongs in cifar100/vanilla"),
        ({"recipe": {"epochs": 300}}, "its recipe is not the suite's"),
        ({"finished": "yesterday"}, "finished is no time"),
        ({"environment": {"cpu": "of /home/ada"}}, "environment.cpu names a path"),
        ({"variant": {"x": 1}}, "variant names what params does not say"),
        ({"evidence_sha256": "0" * 64}, "its evidence does not match its hash"),
        ({"student": "resnet8_w9"}, "is not its student"),
    ],
)
def test_a_changed_record_is_named_by_file_and_line(changes: dict[str, Any], said: str, results: Path) -> None:
    before = (results / "digits" / "vanilla" / "records.jsonl").read_bytes().split(b"\n")
    edit(results, first_changed(**changes))
    after = (results / "digits" / "vanilla" / "records.jsonl").read_bytes().split(b"\n")
    line = next(n for n, text in enumerate(after, start=1) if text not in before)
    found = problems(results)
    assert any(f"vanilla/records.jsonl:{line}: " in text and said in text for text in found), found


def test_a_record_of_another_protocol_is_named(results: Path) -> None:
    def change(entries: list[Entry]) -> list[Entry]:
        from kdbench.hashing import digest

        protocol = {**entries[0].record.protocol, "revision": 9}
        return first_changed(protocol=protocol, fingerprint=digest(protocol))(entries)

    edit(results, change)
    assert any("is not the suite's" in line and "WITHDRAWN.md" in line for line in problems(results))


def rewrite(results: Path, text: bytes) -> None:
    path = results / "digits" / "vanilla" / "records.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([text, *lines[1:]]))


def with_value(results: Path, name: str, value: Any) -> bytes:
    line = (results / "digits" / "vanilla" / "records.jsonl").read_bytes().split(b"\n")[0]
    return json.dumps({**json.loads(line), name: value}, separators=(",", ":")).encode()


HOSTILE: dict[str, Callable[[Path], bytes]] = {
    "nan": lambda r: with_value(r, "params", {"x": math.nan}),
    "infinity in the cost": lambda r: with_value(r, "cost", {"train_seconds": math.inf}),
    "huge integer": lambda r: with_value(r, "params", {"x": 1}).replace(b'"x":1', b'"x":' + b"9" * 5000),
    "wrong schema": lambda r: with_value(r, "schema_version", 7),
    "unknown key": lambda r: with_value(r, "\x1b[2J\nevil", 1),
    "path as suite": lambda r: with_value(r, "suite", "../../etc"),
    "path as method": lambda r: with_value(r, "method", {"name": "../x"}),
    "changed": lambda r: with_value(r, "seed", 3),
    "huge line": lambda r: b'{"a":"' + b"a" * MAX_LINE + b'"}',
    "deep nesting": lambda r: b"[" * 100_000,
    "not text": lambda r: b"\xff\xfe\x00",
    "empty": lambda r: b"",
    "repeated key": lambda r: with_value(r, "seed", 0).replace(b'{"schema', b'{"seed":9,"schema', 1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_line_is_one_problem_at_its_line(name: str, results: Path) -> None:
    rewrite(results, HOSTILE[name](results))
    found = problems(results)
    assert len([text for text in found if "vanilla/records.jsonl:1: " in text]) == 1
    assert all(text.isprintable() and len(text) < 500 for text in found)


def test_a_repeated_record_names_the_first(results: Path) -> None:
    path = results / "digits" / "vanilla" / "records.jsonl"
    path.write_bytes(path.read_bytes() + path.read_bytes().split(b"\n")[2] + b"\n")
    found = problems(results)
    assert [line for line in found if "records.jsonl:61: it repeats" in line and line.endswith("records.jsonl:3")]


def test_a_missing_seed_is_a_problem(results: Path) -> None:
    edit(results, lambda entries: entries[1:])
    [line] = problems(results)
    assert "lacks seeds 0" in line


def with_seed_27(entries: list[Entry], **changes: Any) -> list[Entry]:
    """The records, with one more that says to be of seed 27."""
    record = entries[0].record.model_copy(update={"seed": 27, **changes}).sealed()
    return [*entries, replace(entries[0], record=record)]


def test_further_seeds_of_a_reference_have_no_gaps(results: Path) -> None:
    edit(results, with_seed_27)
    found = problems(results)
    assert any("lacks seeds 20, 21" in text for text in found)
    assert not any("is not one of the suite's" in text for text in found)


def test_only_references_have_further_seeds(results: Path) -> None:
    edit(results, lambda entries: with_seed_27(entries, variant={"x": 1}))
    assert any("seed 27 is not one of the suite's 10" in text for text in problems(results))


def test_a_method_has_all_seeds_that_the_suite_allows_or_its_usual_number(results: Path) -> None:
    shutil.copytree(RESULTS / "digits" / "crd", results / "digits" / "crd")

    def with_seed_7(entries: list[Entry]) -> list[Entry]:
        first = [entry for entry in entries if entry.record.seed < 5]
        return [*first, replace(first[0], record=first[0].record.model_copy(update={"seed": 7}).sealed())]

    edit(results, with_seed_7, "crd")
    assert any("lacks seeds 5, 6, 8, 9" in text for text in problems(results))


def test_a_record_without_its_teacher_is_a_problem(results: Path) -> None:
    shutil.rmtree(results / "digits" / "teachers")
    shutil.copytree(RESULTS / "digits" / "kd", results / "digits" / "kd")
    found = problems(results)
    assert len(found) == 60
    assert all("kd/records.jsonl:" in line and "none of the suite's accepted ones" in line for line in found)


def test_changed_weights_of_a_teacher_are_a_problem(results: Path) -> None:
    weights = next((results / "digits" / "teachers").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert any(f"{weights.name}: the weights do not match" in line for line in problems(results))


def test_what_does_not_belong_is_a_problem(results: Path, tmp_path: Path) -> None:
    (results / "no_such_suite").mkdir()
    (results / "notes.txt").write_text("x")
    (results / "digits" / "vanilla" / "run.sh").write_text("x")
    (results / "digits" / "Bad Name").mkdir()
    (results / "digits" / "linked").symlink_to(tmp_path)
    found = problems(results)
    for said in (
        "no_such_suite: no built-in",
        "notes.txt: only",
        "run.sh: no record",
        "Bad Name: only",
        "linked: a link",
    ):
        assert len([line for line in found if said in line]) == 1, said
    assert len(found) == 5


def test_a_copy_whose_link_to_the_teachers_leads_nowhere_is_told_once(results: Path) -> None:
    shutil.rmtree(results / "digits" / "teachers")
    (results / "digits" / "teachers").symlink_to(Path("..", "..", "kdbench", "suites", "digits", "teachers"))
    first, second = problems(results)
    assert (
        "teachers: it leads to ../../kdbench/suites/digits/teachers, where nothing is; copy results with 'cp" in first
    )
    assert "digits: not checked" in second


def test_broken_evidence_is_one_problem(results: Path) -> None:
    (results / "digits" / "vanilla" / "evidence.parquet").write_bytes(b"PAR1 not really")
    [line] = problems(results)
    assert "evidence.parquet cannot be read" in line


def test_evidence_that_unfolds_beyond_its_records_is_not_read(results: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    zeros = pa.array(np.zeros(2_000_000, np.int16))
    values = pa.ListArray.from_arrays(pa.array([0, 2_000_000], pa.int32()), zeros)
    pq.write_table(pa.table({"predicted": values}), results / "digits" / "vanilla" / "evidence.parquet")
    [line] = problems(results)
    assert "larger than its records can need" in line


def run(results: Path, against: Path | None = None) -> tuple[int, str]:
    said = io.StringIO()
    code = validate(results, against, Console(file=said, width=400), as_json=False)
    return code, said.getvalue()


def test_records_that_disappear_need_a_line_in_withdrawn(results: Path, tmp_path: Path) -> None:
    before = tmp_path / "before"
    shutil.copytree(results, before)
    record = read_results(results / "digits" / "vanilla")[0].record
    shutil.rmtree(results / "digits" / "vanilla")
    code, text = run(results, before)
    assert code == 1
    assert "records of 'vanilla' version 1 on digits" in text
    assert "no new line says why" in text
    path = results / "WITHDRAWN.md"
    add_superseded(path, place_of(record), "a | bar\nand a line break")
    path.write_text(path.read_text().replace("superseded | a", "withdrawn | a"))
    assert run(results, before)[0] == 0
    assert run(results)[0] == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("superseded", "withdrawn", "its records are still here"),
        ("superseded", "gone", "status is"),
        ("| 1 |", "| one |", "version is no number"),
        ("because |", " |", "with a reason"),
        ("because |", "because | more |", "7 columns, this line 8"),
    ],
)
def test_a_wrong_line_of_withdrawn_is_named(old: str, new: str, said: str, results: Path) -> None:
    path = results / "WITHDRAWN.md"
    add_superseded(path, place_of(read_results(results / "digits" / "vanilla")[0].record), "because")
    assert run(results)[0] == 0
    path.write_text(path.read_text().replace(old, new))
    code, text = run(results)
    assert code == 1
    assert "WITHDRAWN.md:8: " in text
    assert said in text


def test_a_verification_of_another_record_is_a_problem(results: Path) -> None:
    line = {"key": "0" * 64, "record_sha256": "0" * 64, "level": 3, "outcome": "", "date": "2026-01-01"}
    text = json.dumps({**line, "environment": {}}, separators=(",", ":"))
    (results / "digits" / "vanilla" / "verified.jsonl").write_text(text + "\n")
    [found] = problems(results)
    assert "verified.jsonl:1: it speaks of a record that is not here" in found


def test_comparing_and_validating_import_no_torch() -> None:
    modules = ["records.stats", "records.rows", "records.gate", "commands.compare", "commands.validate", "cli.app"]
    code = f"import sys, {', '.join(f'kdbench.{m}' for m in modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_json_of_validate_is_for_programs(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "notes.txt").touch()
    assert validate(results, None, Console(quiet=True), as_json=True) == 1
    found = json.loads(capsys.readouterr().out)
    assert [problem["where"] for problem in found["problems"]] == [str(results / "notes.txt")]
    assert found["records"] > 2
