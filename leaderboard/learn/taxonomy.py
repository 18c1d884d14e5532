"""The survey's taxonomy in readable words: what each of its rows does, and which method here does it, or why none."""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from kdbench.records.parts import MethodInfo
from kdbench_leaderboard import paths
from kdbench_leaderboard.learn.words import spoken
from kdbench_leaderboard.published import DATA, taxonomy
from kdbench_leaderboard.tables import Cell, Column, Line, Table, choices

REASONS = {  # why no method here does it: a word for the table, and the whole of it
    "open": (
        ("open: write it", "Fits the contract of a method, and nobody has written it yet."),
        ("待实现：欢迎编写", "符合方法接口，尚无人实现。"),
    ),
    "task": (
        ("another task", "Detects, translates, ranks or measures distances; the suites here tell images apart."),
        ("其他任务", "用于检测、翻译、检索等任务；本站的套件只做图像分类。"),
    ),
    "modality": (
        (
            "other kinds of data",
            "Needs sound, text, depth, videos, graphs or several domains, which no suite here has.",
        ),
        ("其他类型的数据", "需要声音、文本、深度、视频、图数据或多个领域，本站的套件没有。"),
    ),
    "extra": (
        ("further data", "Needs unlabelled, private or few images, or additional knowledge, beside a training set."),
        ("额外的数据", "除训练集外还需要无标签、私有、少样本数据或附加知识。"),
    ),
    "team": (
        ("teachers of different classes", "Unites teachers that know different classes; those here know the same."),
        ("类别不同的教师", "融合类别各异的教师；本站的教师类别相同。"),
    ),
    "search": (
        ("searches the student", "Changes or searches the student's architecture; the pairs of a suite are fixed."),
        ("搜索学生结构", "改变或搜索学生结构；本站套件中的网络对是固定的。"),
    ),
    "theory": (
        ("an analysis", "Explains or measures other methods, and trains none of its own."),
        ("分析性工作", "解释或评测其他方法，本身不是训练方法。"),
    ),
    "gan": (
        ("generators", "Makes generators of images smaller, which are judged by other measures than accuracy."),
        ("生成模型", "压缩的是图像生成器，评价指标不是准确率。"),
    ),
    "tasks": (
        ("many tasks in turn", "Learns from task to task in another way than class after class."),
        ("多任务依次学习", "以类别增量之外的方式依次学习多个任务。"),
    ),
}


@dataclass(frozen=True)
class TaxonomyRow:
    """A row of the survey's taxonomy.

    Attributes:
        here, near, why: the method of kdbench that it is, one that is close to it, or a key of `REASONS`.
    """

    family: str
    method: str
    citation: str
    here: str
    near: str
    why: str
    english: str
    chinese: str


@functools.cache
def taxonomy_rows() -> list[TaxonomyRow]:
    """All rows, in the survey's order.

    Raises:
        ValueError: the table in words is not one of the survey's rows.
    """
    table = pd.read_csv(DATA / "learn_taxonomy.csv", dtype=str, keep_default_na=False)
    rows = [TaxonomyRow(*row) for row in table.itertuples(index=False)]
    if [(r.family, r.method, r.citation) for r in rows] != [row[:3] for row in taxonomy()]:
        raise ValueError("learn_taxonomy.csv and survey_taxonomy.csv differ in their rows")
    return rows


def families_of(info: MethodInfo) -> list[str]:
    """A method's families: those that it names, and what carries its knowledge by the survey, a graph or attention."""
    carriers = [r.family for r in taxonomy_rows() if r.here == info.name and r.family in ("graph", "attention")]
    return [*info.families, *carriers]


def citations() -> set[str]:
    return {row.citation for row in taxonomy_rows()}


def taxonomy_table(known: Collection[str], language: str = "en") -> Table:
    """The table of the map, and of the list of methods.

    Args:
        known: methods that have a page.
    """
    say, lines = spoken(language), []
    for row in taxonomy_rows():
        family = say(row.family).replace("_", "-")
        cells = {
            "method": Cell(row.method.strip("[]")),
            "family": Cell(family),
            "citation": Cell(row.citation),
            "words": Cell(row.chinese if language == "zh-CN" else row.english),
            "here": here_cell(row, known, language),
        }
        lines.append(Line(cells, {"family": [family], "here": [state(row, language)]}, paper=row.here or row.near))
    columns = [
        Column("method", say("Method")),
        Column("words", say("What it does"), wide=True),
        Column("here", say("Here")),
        Column("family", say("Family")),
        Column("citation", say("Paper"), phone=False),
    ]
    filters = [choices("family", say("Family"), lines), choices("here", say("Here"), lines)]
    return Table("taxonomy", say("The survey's taxonomy"), columns, lines, filters)


def state(row: TaxonomyRow, language: str) -> str:
    """What the table is filtered by."""
    here, near = ("有", "接近") if language == "zh-CN" else ("yes", "close")
    return here if row.here else near if row.near else REASONS[row.why][language == "zh-CN"][0]


def here_cell(row: TaxonomyRow, known: Collection[str], language: str) -> Cell:
    """The method's page, or a tag that says why there is none."""
    name = row.here or row.near
    if not name:
        word, reason = REASONS[row.why][language == "zh-CN"]
        return Cell("–", tags=((word, reason),))
    text = name if row.here else f"{spoken(language)('close to')} {name}"
    return Cell(text, href=paths.method(name) if name in known else None)
