"""The survey's tables and the published results, with their sources, and what of kdbench measures each method."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from kdbench.records.parts import MethodInfo

DATA = Path(__file__).parent / "data"
KNOWLEDGE = {"response": "ResK", "feature": "FeaK", "relation": "RelK"}
BLOCKS = {
    "offline": "Offline distillation",
    "online": "Online distillation",
    "self": "Self-distillation",
    "data_free": "Data-free distillation",
    "other": "Others: baselines, controls, augmentation",
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
Key = tuple[str, str, str]  # method, teacher, student: all normalised


@dataclass(frozen=True)
class MethodName:
    """A published method, what measures it here, and its place in the taxonomy.

    Attributes:
        rows: rows of kdbench that measure it, such as 'fastdfkd[iterations=5]'.
        absent: why kdbench does not have it, where that is known.
    """

    method: str
    title: str
    rows: list[str]
    scheme: str
    knowledge: list[str]
    families: list[str]
    absent: str = ""

    @functools.cached_property
    def measured_by(self) -> list[str]:
        """Methods of kdbench; where it has none, one of this name would be it."""
        return list(dict.fromkeys(row.partition("[")[0] for row in self.rows)) or [self.method]

    @property
    def block(self) -> str:
        """The block of all its rows, measured or published; several teachers stand where one does."""
        if "data_free" in self.families:
            return "data_free"
        return "other" if self.scheme == "baseline" or "augmentation" in self.families else self.scheme


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

    @functools.cached_property
    def flags(self) -> list[str]:
        """Where its protocol differs from that of kdbench."""
        text = f"{self.method} {self.note} {self.source.notes}"
        return [flag for flag, pattern in FLAGS.items() if re.search(pattern, text, re.IGNORECASE)]

    @property
    def gain(self) -> float | None:
        if self.accuracy is None or self.student_accuracy is None:
            return None
        return round(self.accuracy - self.student_accuracy, 3)


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
    survey: list[SurveyRow] = field(default_factory=list)
    printed: list[Printed] = field(default_factory=list)


def network(name: str) -> str:
    """A network's name as all tables are matched by: 'WRN-40-2', 'wrn_40_2' are wrn402."""
    plain = re.sub(r"[-_ .]", "", name.lower())
    return "mobilenetv1" if plain == "mobilenet" else plain


@functools.cache
def method_names() -> dict[str, MethodName]:
    table = pd.read_csv(DATA / "method_names.csv", dtype=str, keep_default_na=False)
    return {
        r.method: MethodName(
            r.method, r.title, listed(r.kdbench), r.scheme, listed(r.knowledge), listed(r.families), r.absent
        )
        for r in table.itertuples()
    }


def listed(text: str) -> list[str]:
    return text.split("|") if text else []


@functools.cache
def names_of_rows() -> dict[str, str]:
    """By kdbench's row, the published name beside which it stands: its own, else the first that it measures."""
    found: dict[str, str] = {}
    for name in method_names().values():
        for row in name.rows:
            found[row] = name.method if row == name.method else found.get(row, name.method)
    return found


def described(method: str, infos: Mapping[str, MethodInfo]) -> MethodName:
    """A published or measured method, with the taxonomy of its records; without records, that of the table of names."""
    name = method_names().get(method)
    own = name.measured_by if name else [method]
    info = next((infos[one] for one in own if one in infos), None)
    if info is None:
        return method_names()[method]
    name = name or MethodName(method, method, [method], "", [], [])
    return replace(name, scheme=info.scheme, knowledge=list(info.knowledge), families=list(info.families))


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


def entries(dataset: str) -> dict[Key, Entry]:
    """All published results of a data set, by method and pair, those of the survey first and in its order."""
    found: dict[Key, Entry] = {}
    for row in survey():
        if row.dataset == dataset:
            found.setdefault(row.key, Entry(row.key)).survey.append(row)
    for printed in published():
        if printed.dataset != dataset or printed.source.name.startswith("gou2021"):
            continue
        found.setdefault(printed.key, Entry(printed.key)).printed.append(printed)
    return found


def datasets() -> list[str]:
    """Data sets with published results, those of the survey first."""
    return list(dict.fromkeys([row.dataset for row in survey()] + [p.dataset for p in published()]))


def of_method(method: str) -> list[Printed]:
    """What was published of a method of kdbench, under whatever name."""
    return by_measuring().get(method, [])


@functools.cache
def by_measuring() -> dict[str, list[Printed]]:
    """Every published result by each method of kdbench that measures it."""
    found: dict[str, list[Printed]] = {}
    for printed in published():
        for method in method_names()[printed.method].measured_by:
            found.setdefault(method, []).append(printed)
    return found


def by_trust(printed: Sequence[Printed]) -> list[Printed]:
    """Results whose protocol is nearest to kdbench's come first, and those without a number last."""
    return sorted(printed, key=lambda p: (p.accuracy is None, len(p.flags)))
