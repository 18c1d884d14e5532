"""Forgeries whose hashes fit: what needs no training to find is refused, and said by record, field and reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from kdbench.records.curves import Curve
from kdbench.records.evidence import Evidence
from kdbench.records.gate import may_have, plain_sizes, record_problems
from kdbench.records.gate_rows import rows_problems
from kdbench.records.reader import Contents, Reader
from kdbench.records.record import Record
from kdbench.suite import Suite
from kdbench.suites import load_suite, load_test_labels

RESULTS = Path(__file__).parents[3] / "results" / "digits"
Change = Callable[[dict[str, Any]], object]


@dataclass(frozen=True)
class Board:
    """Accepted records that forgeries are made of, and what they are held against."""

    suite: Suite
    labels: np.ndarray
    teachers: Mapping[str, str]
    sizes: Mapping[str, tuple[int, int]]
    contents: Mapping[str, Contents]

    def record(self, method: str) -> Record:
        """The first trained record of a method."""
        return next(record for _, record in self.contents[method].records if record.status == "done")

    def problems(self, record: Record, **other: Any) -> list[str]:
        """What the gate says of a record that took the place of the first of its method."""
        contents = self.contents[record.method.name if record.method.name in self.contents else "kd"]
        values = {"evidence": contents.evidence.get(record.key), "curve": contents.curves.get(record.key), **other}
        return list(
            record_problems(
                record, values["evidence"], self.suite, self.labels, self.teachers, values["curve"], {}, self.sizes
            )
        )


@pytest.fixture(scope="module")
def board() -> Board:
    suite = load_suite("digits")
    contents = {name: Reader().contents(RESULTS / name) for name in ("teachers", "vanilla", "kd", "fitnets", "mixup")}
    taught = (record for _, record in contents["teachers"].records)
    teachers = {record.main.sha256: record.student for record in taught if record.main.sha256}
    sizes = plain_sizes(record for _, record in contents["vanilla"].records)
    return Board(suite, load_test_labels(suite), teachers, sizes, contents)


def forged(record: Record, change: Change) -> Record:
    """The record with other content and hashes that fit."""
    about = record.model_dump(mode="json")
    change(about)
    found = Record.model_validate(about)
    return found.model_copy(update={"sha256": found.content_sha256()})


def put(*path: str | int, value: Any) -> Change:
    def change(about: Any) -> None:
        for key in path[:-1]:
            about = about[key]
        about[path[-1]] = value

    return change


@pytest.mark.parametrize("method", ["vanilla", "kd", "fitnets", "mixup"])
def test_accepted_records_hold(method: str, board: Board) -> None:
    assert board.problems(board.record(method)) == []


FORGERIES: list[tuple[str, Change, str]] = [
    ("kd", put("params", "temperature", value=9.0), "params.temperature is not the method's default"),
    ("kd", put("variant", value={"temperature": 4.0}), "params_source and trials"),
    ("kd", put("params_source", value="tuned"), "params_source and trials"),
    ("kd", put("trials", value=7), "params_source and trials"),
    ("kd", put("reason", value="because"), "reason is of a cell"),
    ("kd", put("method", "deviations", value=[" "]), "method.deviations, families or requires has an entry"),
    ("mixup", put("method", "deviations", value=[]), "method.deviations lacks what its class says"),
    ("kd", put("method", "requires", value=["student.logits", "teacher.logits", "x"]), "method.requires is not"),
    ("kd", put("method", "scheme", value="online"), "method.scheme is not"),
    ("kd", put("method", "knowledge", value=["feature"]), "method.knowledge is not"),
    ("kd", put("method", "version", value=99), "method.version is 99"),
    ("kd", put("method", "distribution", value="my-package"), "kdbench has the method 'kd' itself"),
    ("kd", put("method", "name", value="kd_better"), "kdbench has no method 'kd_better'"),
    ("kd", put("networks", 0, "parameters", value=7), "networks: its network has 7 parameters"),
    ("kd", put("networks", 0, "macs", value=1), "networks: its network has"),
    ("kd", put("networks", 0, "parameters", value=10**9), "networks: its network has 1000000000 parameters"),
    ("vanilla", put("networks", 0, "parameters", value=0), "parameters or macs of its network are 0"),
    ("kd", put("cost", "train_seconds", value=0.0), "cost.train_seconds or cost.steps"),
    ("kd", put("cost", "steps", value=1), "cost.train_seconds or cost.steps"),
    ("kd", put("cost", "main_epochs", value=3), "method.deviations does not say that it trained 3 epochs"),
    ("kd", put("finished", value="2099-01-01T00:00:00+00:00"), "finished is no time"),
    ("kd", put("finished", value="1970-01-01T00:00:00+00:00"), "finished is no time"),
    ("kd", put("environment", "hostname", value="x"), "environment.hostname is nothing that kdbench writes"),
    ("kd", put("environment", "torch", value=""), "environment.torch is nothing that kdbench writes"),
    ("kd", put("method", "docstring", value="See /home/ada/notes."), "method.docstring names a path"),
    ("kd", put("method", "title", value="by ada@gpu7"), "method.title names a user or host"),
    ("kd", put("method", "deviations", value=["hf_" + "a" * 34]), "method.deviations.0 names a token"),
]


@pytest.mark.parametrize(("method", "change", "said"), FORGERIES)
def test_a_forgery_is_refused_with_its_field_and_reason(method: str, change: Change, said: str, board: Board) -> None:
    found = board.problems(forged(board.record(method), change))
    assert any(said in problem for problem in found), found
    assert all("\n" not in problem for problem in found)


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where something stands in a record."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*path, key)
        yield from places(one, (*path, key))


@pytest.mark.parametrize("value", [None, "", 0, 10**14, -1.5, {}, {"x": [1]}, ["x"]], ids=str)
def test_whatever_a_record_says_the_gate_answers(value: Any, board: Board) -> None:
    record = board.record("kd")
    for path in places(record.model_dump(mode="json")):
        with suppress(ValidationError):
            for problem in board.problems(forged(record, put(*path, value=value))):
                assert "\n" not in problem, path


def test_a_cell_that_is_not_applicable_has_no_evidence(board: Board) -> None:
    def change(about: dict[str, Any]) -> None:
        about |= {"status": "not_applicable", "reason": "it would be last"}

    assert any("status is not_applicable, and it has" in p for p in board.problems(forged(board.record("kd"), change)))


def test_a_missing_curve_is_a_problem(board: Board) -> None:
    assert board.problems(board.record("kd"), curve=None) == ["curve: it is missing"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda curve: curve.pop("loss"), "it has no 'loss'"),
        (lambda curve: curve.update(loss=curve["loss"][:1]), "'loss' has 1 epochs"),
        (lambda curve: curve.update({"hint.mse": [1.0]}), "does not tell of the stage 'hint'"),
        (lambda curve: curve.update(test_top1=[101.0, *curve["test_top1"][1:]]), "is no accuracy"),
        (lambda curve: curve.update(test_top1=curve["test_top1"] * 61), "'test_top1' has"),
        (lambda curve: curve.update(test_top1=[]), "'test_top1' has 0 epochs"),
    ],
)
def test_a_curve_of_another_training_is_a_problem(change: Callable[[Curve], object], said: str, board: Board) -> None:
    from kdbench.hashing import digest

    record = board.record("kd")
    curve = dict(board.contents["kd"].curves[record.key])
    change(curve)
    found = board.problems(forged(record, put("curve_sha256", value=digest(curve))), curve=curve)
    assert [said in problem for problem in found] == [True], found


def test_a_curve_has_a_loss_for_every_epoch_and_some_test_accuracies() -> None:
    assert [may_have("loss", count, 60) for count in (0, 20, 60, 61)] == [False, False, True, False]
    assert [may_have("test_top1", count, 60) for count in (0, 20, 60, 61)] == [False, True, True, False]


def test_a_foreign_method_says_where_its_source_is(board: Board) -> None:
    def foreign(about: dict[str, Any]) -> None:
        about["method"] |= {"name": "mine", "distribution": "my-package"}

    def published(about: dict[str, Any]) -> None:
        foreign(about)
        about["method"] |= {"repository": "https://github.com/ada/mine", "commit": "0" * 40}

    said = "method.repository and commit do not say"
    assert any(said in p for p in board.problems(forged(board.record("kd"), foreign)))
    assert not any(said in p for p in board.problems(forged(board.record("kd"), published)))


@pytest.mark.parametrize("address", ["git@github.com:a/b", "https://ada:token@github.com/a/b", "file:///home/ada/x"])
def test_an_address_that_tells_of_its_author_is_none(address: str, board: Board) -> None:
    with pytest.raises(ValidationError):
        forged(board.record("kd"), put("method", "repository", value=address))


@pytest.mark.parametrize(
    "change",
    [
        put("cost", "train_seconds", value=1.7e308),
        put("cost", "flops", value=10**30),
        put("method", "year", value=10**9),
        put("networks", 0, "parameters", value=10**30),
        put("networks", 0, "metrics", "nll", value=1e300),
        put("seed", value=10**12),
        put("params", value={"x": 1e300}),
        put("params", value={"x": 10**400}),
        put("variant", value={"x": [{"y": -1e300}]}),
        put("cost", "passes", value={"student": {"forward": 10**30, "backward": 0}}),
    ],
)
def test_numbers_have_bounds(change: Change, board: Board) -> None:
    with pytest.raises(ValidationError):
        forged(board.record("kd"), change)


def row(board: Board) -> tuple[list[tuple[str, Record]], dict[str, Evidence]]:
    contents = board.contents["kd"]
    return list(contents.records), dict(contents.evidence)


def test_an_honest_row_holds(board: Board) -> None:
    assert list(rows_problems(*row(board), board.suite)) == []


@pytest.mark.parametrize("changed", [0, 5])
def test_one_seeds_evidence_is_not_anothers(changed: int, board: Board) -> None:
    """The same evidence, or all but a few images of it."""
    records, evidence = row(board)
    first = records[0][1]
    where, other = next((w, r) for w, r in records if r.student == first.student and r.seed != first.seed)
    copy = evidence[first.key]
    log_probability = copy.log_probability.copy()
    log_probability[:changed] -= np.float16(0.1)
    evidence[other.key] = Evidence(copy.predicted, copy.rank, log_probability, copy.top_probability)
    found = list(rows_problems(records, evidence, board.suite))
    assert [place for place, _ in found] == [where]
    assert f"its evidence of seed {other.seed} is that of seed {first.seed}" in found[0][1]


def test_a_row_has_the_same_parameters_throughout(board: Board) -> None:
    records, evidence = row(board)
    where, last = records[-1]
    records[-1] = (where, forged(last, put("params", "temperature", value=2.0)))
    assert [(where, True)] == [(w, "has other params" in p) for w, p in rows_problems(records, evidence, board.suite)]
