"""Made-up accepted records of any number of methods, with evidence: for tests and for the benchmark of the site.

They are valid in form (hashes, metrics that follow from the evidence) and mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.hashing import digest
from kdbench.records.curves import Curve
from kdbench.records.evidence import Evidence
from kdbench.records.metrics import metrics
from kdbench.records.parts import Metrics
from kdbench.records.record import Record
from kdbench.records.store import Entry, write_results
from kdbench.suite import Suite
from kdbench.suites import load_suite, load_test_labels

HASH = "0" * 64


def make_evidence(rng: np.random.Generator, labels: np.ndarray, classes: int, skill: np.ndarray) -> Evidence:
    """A network that is right on image i with probability skill[i]."""
    correct = rng.random(len(labels)) < skill
    rank = np.where(correct, 0, 1)
    predicted = np.where(correct, labels, (labels + 1) % classes)
    log_p = np.where(correct, np.log(0.9), np.log(0.05)).astype(np.float16)
    top = np.where(correct, np.exp(log_p.astype(np.float64)), 0.9)
    return Evidence(predicted, rank, log_p, top)


def make_method(name: str, **changes: Any) -> dict[str, Any]:
    """A method's metadata."""
    about: dict[str, Any] = {
        "name": name,
        "version": 1,
        "title": f"The paper of {name}",
        "authors": "Ada Lovelace, Alan Turing",
        "year": 2020,
        "arxiv": "1503.02531",
        "scheme": "offline",
        "knowledge": ["response"],
        "families": [],
        "requires": ["student.logits", "teacher.logits"],
        "deviations": [],
        "docstring": f"{name} does something.\n\nL = CE(z_s, y)",
        "distribution": "kdbench",
        "distribution_version": "1.0",
        "source_sha256": HASH,
    }
    if name == "vanilla":
        about |= {"title": None, "authors": None, "year": None, "arxiv": None, "scheme": "baseline"}
        about |= {"knowledge": [], "requires": ["student.logits"]}
    return about | changes


def make_record(
    suite: Suite, method: dict[str, Any], pair: tuple[str | None, str], seed: int, **changes: Any
) -> Record:
    """One record, sealed; `changes` replace any of its values."""
    teacher, student = pair
    protocol = changes.get("protocol", suite.protocol())
    own = [changes[name] for name in ("variant", "trials") if changes.get(name)] or [{}]
    values: dict[str, Any] = {
        "kind": "cell",
        "status": "done",
        "reason": None,
        "key": digest([method["name"], method["version"], teacher, student, seed, *own]),
        "suite": suite.name,
        "fingerprint": digest(protocol),
        "protocol": protocol,
        "off_protocol": [],
        "student": student,
        "seed": seed,
        "method": method,
        "params": {"kd_weight": 1.0},
        "variant": {},
        "params_source": "paper",
        "trials": 0,
        "teachers": [{"model": teacher, "sha256": digest(teacher), "outputs": "live"}] if teacher else [],
        "recipe": suite.recipe_of(student).model_dump(mode="json"),
        "matching": [],
        "networks": [],
        "cost": {"train_seconds": 5.0, "steps": 100, "method_parameters": 0},
        "environment": {"python": "3.11", "device": "cpu", "cpu": "made up"},
        "finished": "2026-01-02T03:04:05+00:00",
        "evidence_sha256": None,
    }
    return Record.model_validate(values | changes).sealed()


def make_entry(
    suite: Suite,
    labels: np.ndarray,
    method: dict[str, Any],
    pair: tuple[str | None, str],
    seed: int,
    skill: float,
    folder: Path = Path(),
    **changes: Any,
) -> Entry:
    """One cell with evidence of about this accuracy (0 to 1), on images that are hard or easy for all methods alike."""
    rng = np.random.default_rng([seed, len(pair[1]), int(digest([method["name"], changes.get("variant")])[:6], 16)])
    easy = np.random.default_rng(7).normal(size=len(labels))
    probability = 1 / (1 + np.exp(-(np.log(skill / (1 - skill)) + easy)))
    evidence = make_evidence(rng, labels, suite.data.num_classes, probability)
    said: Metrics = metrics(evidence, labels, suite.data.num_classes)
    network = {
        "role": "student",
        "model": pair[1],
        "timm_name": f"synthetic_{pair[1]}",
        "arguments": {},
        "metrics": said.model_dump(),
        "parameters": 1000 + 100 * len(pair[1]),
        "macs": 10000,
    }
    curve: Curve = {"test_top1": [50.0, said.top1 + 1.0, said.top1], "loss": [2.0, 1.0, 0.5]}
    given = {"networks": [network], "evidence_sha256": evidence.sha256(), "curve": curve}
    return Entry(make_record(suite, method, pair, seed, **(given | changes)), evidence, folder)


def places(suite: Suite, reads_teacher: bool) -> Sequence[tuple[str | None, str]]:
    """Where a method has cells."""
    if reads_teacher:
        return [(pair.teacher, pair.student) for pair in suite.pairs]
    return [(None, student) for student in dict.fromkeys(pair.student for pair in suite.pairs)]


def write_method(results: Path, suite: Suite, method: dict[str, Any], skill: float, **changes: Any) -> list[Entry]:
    """A complete accepted method: every pair and seed of the suite."""
    labels = load_test_labels(suite)
    reads_teacher = any(output.startswith("teacher") for output in method["requires"])
    entries = [
        make_entry(suite, labels, method, pair, seed, skill, **changes)
        for pair in places(suite, reads_teacher)
        for seed in range(suite.seeds)
    ]
    write_results(results / suite.name / method["name"], entries)
    return entries


def write_methods(results: Path, names: Iterable[str], suite_name: str = "digits") -> int:
    """Plain student, KD and methods of these names; returns how many records were written."""
    suite, count = load_suite(suite_name), 0
    for n, name in enumerate(["vanilla", "kd", *names]):
        count += len(write_method(results, suite, make_method(name), 0.9 + 0.05 * (n % 7) / 7))
    return count
