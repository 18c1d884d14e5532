"""Every number on the learning pages, computed again from the stored logits, the records and the tables."""

from __future__ import annotations

import csv
import html
import math
import re
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from kdbench_leaderboard.learn.taught import FILE
from kdbench_leaderboard.learn.topics import path

DATA = Path(__file__).parents[3] / "leaderboard" / "data"


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    return load_file(FILE)


def page(site: Path, name: str, language: str = "en") -> str:
    return (site / path(name, language)).read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """The cells of each row of a table's body."""
    body = text.partition("<tbody>")[2].partition("</tbody>")[0]
    return [
        [
            html.unescape(re.sub("<[^>]+>", "", cell)).strip()
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        ]
        for row in re.findall("<tr.*?</tr>", body, re.DOTALL)
    ]


def softmax(logits: Any, temperature: float) -> np.ndarray:
    powers = [math.exp((float(z) - max(map(float, logits))) / temperature) for z in logits]
    return np.array(powers) / sum(powers)


def test_the_tables_of_one_image_are_its_soft_targets(site: Path, stored: dict[str, np.ndarray]):
    section = page(site, "soft-targets").partition('id="hard-and-soft"')[2].partition("<h2")[0]
    image = int(re.search(r"Test image (\d+)", section)[1])  # type: ignore[index]
    teacher = re.search(r"under <code>(\w+)</code>", section)[1]  # type: ignore[index]
    tables = re.findall(r"T = ([\d.]+) · entropy ([\d.]+)</figcaption>(.*?</table>)", section, re.DOTALL)
    assert [t for t, _, _ in tables] == ["1", "4", "20"]
    for t, entropy, table in tables:
        soft = softmax(stored[f"teacher.{teacher}"][image], float(t))
        assert [float(row[3]) for row in rows(table)] == pytest.approx(soft, abs=2e-3)
        assert [int(row[1]) for row in rows(table)] == [int(c == stored["labels"][image]) for c in range(10)]
        assert float(entropy) == pytest.approx(-sum(p * math.log(p) for p in soft if p), abs=0.02)


def test_the_map_of_confusion_is_the_mean_at_four(site: Path, stored: dict[str, np.ndarray]):
    maps = re.findall(r'<figure class="confusion">(.*?)</figure>', page(site, "soft-targets"), re.DOTALL)
    names = [name.partition(".")[2] for name in stored if name.startswith("teacher.")]
    assert len(maps) == len(names)
    for shown in maps:
        [name] = [name for name in names if f"<strong>{name}</strong>" in shown]
        for c, row in enumerate(rows(shown)):
            mine = [softmax(z, 4.0) for z in stored[f"teacher.{name}"][stored["labels"] == c]]
            assert [float(v) for v in row[1:]] == pytest.approx(100 * np.mean(mine, axis=0), abs=0.06)


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_what_is_said_of_twos_is_what_the_teacher_says(site: Path, stored: dict[str, np.ndarray], language: str):
    text = page(site, "soft-targets", language).partition('id="textbook"')[2].partition("</p>")[0]
    first = re.search(r"<code>(\w+)</code>", text)[1]  # type: ignore[index]
    mean = np.mean([softmax(z, 4.0) for z in stored[f"teacher.{first}"][stored["labels"] == 2]], axis=0)
    for c in (3, 7):
        assert f"P({c}) = {mean[c]:.3f}" in text
    top = set(np.argsort(-np.where(np.arange(10) == 2, 0, mean))[:2].tolist())
    assert (top == {3, 7}) == (("the example holds here" in text) or ("例子在这里成立" in text))


def test_the_cat_is_computed(site: Path):
    section = page(site, "soft-targets").partition('id="cat-dog-car"')[2].partition("<h2")[0]
    table = rows(section)
    logits = [float(v) for v in table[0][1:4]]
    for row in table[1:-1]:
        assert [float(v) for v in row[1:4]] == pytest.approx(softmax(logits, float(row[0])), abs=1e-4)
    assert table[-1][1:4] == ["1", "0", "0"]
    assert f"{math.exp(logits[1] - logits[2]):.0f} times" in section


def test_classes_that_are_alike_are_those_of_the_stored_table(site: Path):
    from kdbench_leaderboard.learn.taught import classes

    known, text = classes(), page(site, "soft-targets").partition('id="cifar"')[2]
    at = known.names.index
    for name in ("fox", "pickup truck"):
        assert f"{name} with {100 * known.table[at('wolf'), at(name)]:.1f} %" in text
    shown = rows(text)
    assert len(shown) == len(known.names)
    for name, first, most, _, own in shown[::9]:
        others = {other: known.table[at(name), at(other)] for other in known.names if other != name}
        assert first == max(others, key=lambda other: others[other])
        assert [float(most), float(own)] == pytest.approx(
            [100 * others[first], 100 * known.table[at(name), at(name)]], abs=0.06
        )


def test_the_gradients_distances_are_those_of_the_stored_logits(site: Path, stored: dict[str, np.ndarray]):
    text = page(site, "logits")
    teacher = re.search(r"teacher <code>(\w+)</code>", text)[1]  # type: ignore[index]
    z_t = stored[f"teacher.{teacher}"].astype(float)
    found = rows(text.partition('id="gradients"')[2])
    assert [row[0] for row in found] == ["1", "2", "4", "10", "20", "100", "1000"]
    for row in found:
        t = float(row[0])
        for column, name in ((1, "vanilla"), (2, "kd")):
            z_s = stored[f"student.{name}"].astype(float)
            limit = (z_s - z_s.mean(1, keepdims=True) - z_t + z_t.mean(1, keepdims=True)) / 10
            gradient = np.array([t * (softmax(s, t) - softmax(u, t)) for s, u in zip(z_s, z_t, strict=True)])
            distance = np.linalg.norm(gradient - limit, axis=1).mean() / np.linalg.norm(limit, axis=1).mean()
            assert float(row[column]) == pytest.approx(distance, abs=1e-3, rel=1e-2)
            if name == "vanilla":
                size = np.linalg.norm(gradient, axis=1).mean()
                assert [float(row[3]), float(row[4])] == pytest.approx([size, size / t**2], rel=0.06, abs=2e-3)


def test_the_gains_of_the_survey_are_those_of_its_table(site: Path):
    with (DATA / "survey_performance.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    text = page(site, "comparison").partition('id="gains"')[2]
    for dataset, scheme in dict.fromkeys((r["dataset"], r["scheme"]) for r in table):
        mine = [r for r in table if (r["dataset"], r["scheme"]) == (dataset, scheme)]
        gains = [float(r["accuracy"]) - float(r["student_baseline"]) for r in mine]
        block = text.partition(f'data-section="{dataset}"')[2].partition("</tbody>")[0]
        [row] = [row for row in rows(f"<tbody>{block}</tbody>") if row[0] == scheme]
        assert [int(row[2]), *map(float, row[3:6])] == pytest.approx(
            [len(mine), min(gains), statistics.median(gains), max(gains)], abs=0.006
        )


def test_students_above_their_teacher_are_counted_from_records(accepted: Path):
    from kdbench.records.reader import read_results

    text = page(accepted, "comparison")
    count, above = map(int, re.search(r"of (\d+) rows.*?accuracy in\s+(\d+)\.", text, re.DOTALL).groups())  # type: ignore[union-attr]
    assert 0 < above <= count or above == 0
    shown = rows(text.partition('<table id="surpass"')[2]) if above else []
    assert len(shown) == above
    teachers = {
        (e.record.suite, e.record.main.model): e.record.main.metrics.top1
        for folder in [*Path("results").glob("*/teachers"), *Path("kdbench/suites").glob("*/teachers")]
        for e in read_results(folder)
    }
    for row in shown[:3]:
        method, pair, suite = row[0].partition("[")[0], row[2].split(" → "), row[5]
        mine = [
            e.record.main.metrics.top1
            for e in read_results(Path("results") / suite / method)
            if (e.record.teacher, e.record.student) == tuple(pair) and e.record.row == row[0]
        ]
        assert float(row[1].split()[0]) == pytest.approx(statistics.mean(mine) - teachers[suite, pair[0]], abs=0.02)
