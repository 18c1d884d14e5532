"""The Chinese of what pages share: navigation, tables, figures. Prose stands in the templates."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pandas as pd

from kdbench_leaderboard.published import DATA

Say = Callable[[str], str]


@functools.cache
def chinese() -> dict[str, str]:
    table = pd.read_csv(DATA / "learn_words.csv", dtype=str, keep_default_na=False)
    return dict(zip(table["english"], table["chinese"], strict=True))


def spoken(language: str) -> Say:
    """What says a word of the pages in a language; one without a translation stays as it is."""
    return (lambda text: chinese().get(text, text)) if language == "zh-CN" else (lambda text: text)
