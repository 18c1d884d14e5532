"""Recompute numbers of a built site from the records: PYTHONPATH=. python benchmarks/recomputed_numbers.py site

Nothing of kdbench is used: records are lines of JSON, evidence is Parquet, numbers are means over images, seeds, pairs.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
REFERENCES = ("vanilla", "kd")  # may have more seeds than the suite asks for
NEAR = 1e-6  # of numbers that the pages hold unrounded


@dataclass
class Page(HTMLParser):
    """The tables of a page: the key of each column that is there, and each row's values and first link."""

    columns: list[str] = field(default_factory=list)
    rows: list[tuple[str, dict[str, float]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.at, self.name, self.values, self.late = -1, "", dict[str, float](), False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if "data-table" in given:
            self.columns, self.late = [], "data-further" in given
        elif tag == "th" and given.get("data-key") and not (self.late and "hidden" in given):
            self.columns.append(str(given["data-key"]))
        elif tag == "tr":
            self.at, self.name, self.values = -1, "", {}
        elif tag in ("td", "th") and self.columns:
            self.at += 1
            if value := given.get("data-value"):
                self.values[self.columns[self.at]] = float(value)
        elif tag == "a" and not self.name and (found := re.search(r"method/([\w.-]+)\.html", given.get("href") or "")):
            self.name = found[1]

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr" and self.name and self.values:
            self.rows.append((self.name, self.values))


Results = dict[tuple[str, str, int], float]  # top-1 in percent by teacher, student and seed


def top1_of(folder: Path, pairs: list[tuple[str, str]]) -> Results:
    """The accuracy of each cell, from what its network predicted; without a teacher it stands on each pair."""
    table = pq.read_table(folder / "evidence.parquet", columns=["key", "rank"]).to_pydict()
    right = {key: 100 * np.mean(np.array(rank) == 0) for key, rank in zip(table["key"], table["rank"], strict=True)}
    found: Results = {}
    for line in (folder / "records.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        for teacher, student in pairs if record["status"] == "done" and not record["variant"] else ():
            own = record["teachers"][0]["model"] if record["teachers"] else teacher
            if (own, record["student"]) == (teacher, student):
                found[teacher, student, record["seed"]] = float(right[record["key"]])
    return found


def numbers(site: Path, results: Path, suite: str) -> Iterator[tuple[str, float, float]]:
    """Each number of a suite's page and its pairs' that is recomputed: where it stands, shown, recomputed."""
    asked = tomllib.loads((ROOT / "kdbench" / "suites" / f"{suite}.toml").read_text(encoding="utf-8"))
    pairs = [(pair.split(":")[0], pair.split(":")[1]) for pair in asked["pairs"]]
    known = {folder.parent.name: top1_of(folder.parent, pairs) for folder in results.glob(f"{suite}/*/records.jsonl")}

    def mean(method: str, some: list[tuple[str, str]]) -> float:
        own = known[method]
        common = set.intersection(*({seed for t, s, seed in own if (t, s) == pair} for pair in pairs))
        most = range(asked.get("most_seeds", asked["seeds"]))
        seeds = common if method in REFERENCES else most if common.issuperset(most) else range(asked["seeds"])
        return float(np.mean([own[teacher, student, seed] for teacher, student in some for seed in seeds]))

    places = [("suite", f"suite/{suite}/index.html", pairs)]
    places += [("pair", f"pair/{suite}/{teacher}/{student}.html", [(teacher, student)]) for teacher, student in pairs]
    for kind, path, some in places:
        page = Page()
        page.feed((site / path).read_text(encoding="utf-8"))
        for method, shown in page.rows:
            if "accuracy" not in shown or ("gain" not in shown and method != "vanilla"):
                continue  # a row that is not ranked
            expected = {"accuracy": mean(method, some)}
            expected["gain"] = expected["accuracy"] - mean("vanilla", some)
            if "kd" in known:
                expected["kd"] = expected["accuracy"] - mean("kd", some)
            if kind == "pair":
                expected |= {f"seed{seed}": top1 for (t, s, seed), top1 in known[method].items() if (t, s) == some[0]}
            for column in shown.keys() & expected.keys():
                yield f"{path} {method} {column}", shown[column], expected[column]


def check(site: Path, results: Path, suite: str, count: int, seed: int) -> tuple[int, list[str]]:
    """How many numbers were recomputed, drawn by a seed, and those that differ."""
    found = sorted(numbers(site, results, suite))
    chosen = np.random.default_rng(seed).permutation(len(found))[:count]
    drawn = [found[i] for i in chosen]
    return len(drawn), [f"{where}: {a} shown, {b} recomputed" for where, a, b in drawn if abs(a - b) > NEAR]


def main() -> int:
    """Print what differs; the exit code says whether anything does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    parser.add_argument("--results", type=Path, default=ROOT / "results")
    parser.add_argument("--suite", default="digits")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    given = parser.parse_args()
    count, wrong = check(given.site, given.results, given.suite, given.count, given.seed)
    sys.stdout.write("\n".join([*wrong, f"{count} numbers of seed {given.seed}, {len(wrong)} differ"]) + "\n")
    return int(bool(wrong) or not count)


if __name__ == "__main__":
    sys.exit(main())
