"""The grid of the learning pages: KD under several weights and temperatures, as records of their own.

    PYTHONPATH=. python benchmarks/loss_weights.py

trains 36 short cells on the first pair of `digits` (four weights, three temperatures, three seeds), a few minutes on
two cores, and folds their records into leaderboard/data/loss_weights/. They stand on no board.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from itertools import product
from pathlib import Path

from kdbench.api import run
from kdbench.errors import KdbenchError
from kdbench.records.store import Entry, read_runs, write_results
from kdbench.suites import load_suite
from kdbench_leaderboard.learn.weights import FOLDER

WEIGHTS = ((0.9, 0.1), (0.5, 0.5), (0.1, 0.9), (0.0, 1.0))  # of the labels and of the teacher
TEMPERATURES = (1.0, 4.0, 20.0)
SEEDS = 3


def train(out: Path, suite: str, epochs: int | None) -> list[Entry]:
    """The records of the grid, in a folder that may hold some of them already."""
    pair = str(load_suite(suite).pairs[0])
    for (ce, kd), temperature in product(WEIGHTS, TEMPERATURES):
        settings = {"ce_weight": ce, "kd_weight": kd, "temperature": temperature}
        run(["kd"], suite, pairs=[pair], seeds=SEEDS, settings=settings, epochs=epochs, out=out, device="cpu")
    return [entry for entry in read_runs(out, suite, "kd") if not isinstance(entry, KdbenchError)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", default="digits")
    parser.add_argument("--epochs", type=int, help="a quick look")
    parser.add_argument("--runs", type=Path, help="where cells are kept, to go on later; else nowhere")
    parser.add_argument("--out", type=Path, default=FOLDER)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        entries = train(asked.runs or Path(folder), asked.suite, asked.epochs)
        if asked.out.exists():
            shutil.rmtree(asked.out)
        write_results(asked.out, entries)


if __name__ == "__main__":
    main()
