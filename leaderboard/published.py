"""The survey's tables and the published results, with their sources, matched by data set, method and pair."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

DATA = Path(__file__).parent / "data"
KNOWLEDGE = {"response": "ResK", "feature": "FeaK", "relation": "RelK"}
BLOCKS = {
    "offline": "Offline distillation",
    "online": "Online distillation",
    "self": "Self-distillation",
    "data_free": "Data-free distillation",
    "other": "Others: baselines, controls, augmentation, several teachers",
}
FLAGS = {  # what a source says of its protocol, in the words of its notes
    "best epoch": r"best epoch",
    "more epochs": r"\b(300|480) epochs|stronger training",
    "extra augmentation": r"randaug|mixed training images|weak\+strong|_aug\b",
    "stronger teacher": r"stronger teachers",
    "+ KD": r"\+KD loss|--div 1|KD 1 \+ feature",
    "tuned per pair": r"tuned per pair|per pair",
    "one run": r"single run|single number|no seeds|seed 0|one run|one seed|one checkpoint",
    "copied": r"\bcopied\b|a copy of|number-for-number",
    "suspect": r"SUSPECT",
    "own recipe": r"own recipe|copied from the original papers",
}
PUBLISHED_AS = {"dml_mixed": "dml", "snapshot": "snapshot_sd", "fastdfkd": "fastdfkd_5"}
Key = tuple[str, str, str]  # method, teacher, student: all normalised


@dataclass(frozen=True)
class MethodName:
    """A published method's place in the taxonomy."""

    method: str
    title: str
    scheme: str
    knowledge: list[str]
    family: str


@dataclass(frozen=True)
class Source:
    """Where published numbers come from."""

    name: str
    notes: str
    reference: str

    @property
    def address(self) -> str | None:
        """The file on GitHub at its commit, or the paper on arXiv."""
        if match := re.fullmatch(r"([\w.-]+/[\w.-]+):([\w./-]+)@([0-9a-f]{7,40})", self.reference):
            return f"https://github.com/{match[1]}/blob/{match[3]}/{match[2]}"
        if match := re.match(r"arXiv:(\d{4}\.\d{5})\b", self.reference):
            return f"https://arxiv.org/abs/{match[1]}"
        return None


@dataclass(frozen=True)
class Printed:
    """One published result."""

    dataset: str
    method: str
    teacher: str
    student: str
    teacher_accuracy: float | None
    student_accuracy: float | None
    accuracy: float | None
    note: str
    source: Source

    @property
    def key(self) -> Key:
        return self.method, network(self.teacher), network(self.student)

    @property
    def flags(self) -> list[str]:
        """Where its protocol differs from that of kdbench."""
        text = f"{self.method} {self.note} {self.source.notes}"
        return [flag for flag, pattern in FLAGS.items() if re.search(pattern, text, re.IGNORECASE)]

    @property
    def gain(self) -> float | None:
        if self.accuracy is None or self.student_accuracy is None:
            return None
        return self.accuracy - self.student_accuracy


@dataclass(frozen=True)
class SurveyRow:
    """A row as the survey prints it, with the names under which it is matched."""

    table: int
    dataset: str
    scheme: str
    method: str
    citation: str
    knowledge: str
    teacher: str
    teacher_accuracy: float | None
    student: str
    student_accuracy: float | None
    teacher_after: float | None
    accuracy: float
    improvement: float
    note: str
    key: Key


@dataclass
class Entry:
    """All that is known of one method on one pair: as printed by the survey, and by others."""

    key: Key
    block: str
    survey: list[SurveyRow] = field(default_factory=list)
    printed: list[Printed] = field(default_factory=list)


def network(name: str) -> str:
    """A network's name as all tables are matched by: 'WRN-40-2', 'wrn_40_2' are wrn402."""
    plain = re.sub(r"[-_ ]", "", name.lower())
    return "mobilenetv1" if plain == "mobilenet" else plain


def published_name(method: str) -> str:
    """The name under which a method's published results stand, where it is not its own."""
    return PUBLISHED_AS.get(method, method)


@functools.cache
def method_names() -> dict[str, MethodName]:
    table = pd.read_csv(DATA / "method_names.csv", dtype=str, keep_default_na=False)
    return {
        row.method: MethodName(
            row.method, row.title, row.scheme, [k for k in row.knowledge.split("|") if k], row.family
        )
        for row in table.itertuples()
    }


@functools.cache
def published() -> list[Printed]:
    """Every published result."""
    sources = pd.read_csv(DATA / "published_sources.csv", dtype=str, keep_default_na=False)
    by_name = {s.source: Source(s.source, s.protocol_notes, s.source_ref) for s in sources.itertuples()}
    table = pd.read_csv(DATA / "published.csv", dtype=str, keep_default_na=False)
    return [
        Printed(
            row.dataset,
            row.method,
            row.teacher,
            row.student,
            to_number(row.teacher_acc),
            to_number(row.student_acc),
            to_number(row.accuracy),
            row.note,
            by_name[row.source],
        )
        for row in table.itertuples()
    ]


@functools.cache
def survey() -> list[SurveyRow]:
    """The survey's rows. Its rows stand in the same order in `published.csv`, which names methods and networks."""
    table = pd.read_csv(DATA / "survey_performance.csv", dtype=str, keep_default_na=False)
    named = [p for p in published() if p.source.name.startswith("gou2021")]
    return [
        SurveyRow(
            int(row.table),
            row.dataset,
            row.scheme,
            row.method,
            row.citation,
            row.knowledge,
            row.teacher,
            to_number(row.teacher_baseline),
            row.student,
            to_number(row.student_baseline),
            to_number(row.accuracy_teacher_after),
            float(row.accuracy),
            float(row.improvement),
            row.note,
            match.key,
        )
        for row, match in zip(table.itertuples(), named, strict=True)
    ]


def taxonomy() -> list[tuple[str, str, str, str]]:
    """The survey's taxonomy: family, method, citation, and what the survey says of it."""
    table = pd.read_csv(DATA / "survey_taxonomy.csv", dtype=str, keep_default_na=False)
    return [(row.family, row.method, row.citation, row.detail) for row in table.itertuples()]


def to_number(text: str) -> float | None:
    return float(text) if text else None


def block_of(scheme: str, families: list[str]) -> str:
    """The survey's block of a method."""
    if "data_free" in families:
        return "data_free"
    if "augmentation" in families or "multi_teacher" in families:
        return "other"
    return scheme if scheme in ("offline", "online", "self") else "other"


def entries(dataset: str) -> dict[Key, Entry]:
    """All published results of a data set, by method and pair; the survey's rows in its own blocks and order."""
    found: dict[Key, Entry] = {}
    for row in survey():
        if row.dataset == dataset:
            found.setdefault(row.key, Entry(row.key, row.scheme)).survey.append(row)
    for printed in published():
        if printed.dataset != dataset or printed.source.name.startswith("gou2021"):
            continue
        name = method_names()[printed.method]
        entry = found.setdefault(printed.key, Entry(printed.key, block_of(name.scheme, [name.family])))
        entry.printed.append(printed)
    return found


def datasets() -> list[str]:
    """Data sets with published results, those of the survey first."""
    return list(dict.fromkeys([row.dataset for row in survey()] + [p.dataset for p in published()]))


def of_method(method: str) -> list[Printed]:
    """A method's published results, wherever they were printed."""
    return [p for p in published() if p.method == published_name(method)]
