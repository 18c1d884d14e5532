"""What must hold of records together: those of a row, and each beside all others of the suite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from kdbench.records.evidence import Evidence
from kdbench.records.record import Record
from kdbench.records.rows import REFERENCES
from kdbench.suite import Suite

Placed = tuple[str, Record]  # where a record lies, for messages
UNSURE = -1e-3  # log-probability of the true class, below which two networks hardly ever say the same
ALIKE = 0.5  # of these images; between seeds it is at most 0.06 on the accepted records


def rows_problems(found: Sequence[Placed], evidence: Mapping[str, Evidence], suite: Suite) -> Iterator[tuple[str, str]]:
    """Where something is wrong with the rows of a method, and what.

    A row is of one version of its method, has every seed of each pair that it has, further ones without gaps (a method
    all that the suite allows), each with evidence of its own, and the same parameters under all of them but for what
    the suite sets for single pairs.
    """
    rows: dict[str, list[Placed]] = {}
    for where, record in found:
        rows.setdefault(record.row, []).append((where, record))
    for name, members in rows.items():
        where, first = members[0]
        if other := next((w for w, r in members if origin(r) != origin(first)), None):
            yield other, f"'{name}' is of another version or source than in {where}"
        common = common_params(first, suite)
        if other := next((w for w, r in members if common_params(r, suite) != common), None):
            yield other, f"'{name}' has other params than in {where}, and the suite does not say so"
        yield from missing_seeds(name, members, suite)
        yield from copied(members, evidence)


def missing_seeds(name: str, members: Sequence[Placed], suite: Suite) -> Iterator[tuple[str, str]]:
    seeds: dict[tuple[str | None, str], set[int]] = {}
    for _, record in members:
        seeds.setdefault((record.teacher, record.student), set()).add(record.seed)
    last = max(seed for have in seeds.values() for seed in have)
    asked = suite.most_seeds if last >= suite.seeds and name not in REFERENCES else None
    for (teacher, student), have in seeds.items():
        if missing := sorted(set(range(max(asked or suite.seeds, *(seed + 1 for seed in have)))) - have):
            pair = f"{teacher}:{student}" if teacher else student
            yield members[0][0], f"'{name}' on {pair} lacks seeds {', '.join(map(str, missing[:10]))}"


def origin(record: Record) -> tuple[Any, ...]:
    """Which code a record comes from; what a cell deviates in may differ from pair to pair.

    Its package may have a newer version or commit by the time that further seeds are trained, with this code unchanged.
    """
    method = record.method
    return method.version, method.source_sha256, method.distribution, method.repository


def common_params(record: Record, suite: Suite) -> dict[str, Any]:
    """A record's parameters but for those that the suite sets for single pairs."""
    override = suite.methods.get(record.method.name)
    own = {name for pair in override.pairs.values() for name in pair} if override else set()
    return {name: value for name, value in record.params.items() if name not in own}


def copied(members: Sequence[Placed], evidence: Mapping[str, Evidence]) -> Iterator[tuple[str, str]]:
    """Records whose evidence is that of another seed, or but for a few images."""
    by_student: dict[str, list[tuple[str, Record, Evidence]]] = {}
    for where, record in members:
        if record.status == "done" and record.key in evidence:
            by_student.setdefault(record.student, []).append((where, record, evidence[record.key]))
    for cells in by_student.values():
        told: set[str] = set()
        for (first, a, one), (where, b, other) in combinations(cells, 2):
            if a.seed != b.seed and where not in told and same_network(a, one, b, other):
                told.add(where)
                yield where, f"evidence_sha256: its evidence of seed {b.seed} is that of seed {a.seed} in {first}"


def same_network(a: Record, one: Evidence, b: Record, other: Evidence) -> bool:
    """Whether two networks say the same of most images of which they are not all but certain."""
    if a.evidence_sha256 == b.evidence_sha256:
        return True
    if len(one.predicted) != len(other.predicted):
        return False
    unsure = (one.log_probability < UNSURE) | (other.log_probability < UNSURE)
    same = one.log_probability == other.log_probability
    return bool(unsure.sum() >= 20) and float(np.mean(same[unsure])) > ALIKE
