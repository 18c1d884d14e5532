"""A suite's [statistics], from its accepted records: PYTHONPATH=. python benchmarks/statistics_noise.py NAME

Prints the table of its TOML file, and what test images add to the variance of a difference from the plain student.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kdbench.commands.comparison import complete_rows, find_metric, part_of, sample_of
from kdbench.records.contrast import Sample, image_variance
from kdbench.records.moderation import Prior, estimate_prior, ordinary
from kdbench.records.rows import PLAIN
from kdbench.records.store import find_results
from kdbench.records.tasks import ranked_by
from kdbench.suites import list_suites, load_suite

NO_RUNS = Path("no runs")  # accepted records alone


def samples_of(name: str, pairs: tuple[str, ...] = ()) -> dict[str, Sample]:
    """What each complete row of a suite scored, over all its pairs or on some.

    Data-free methods are left out: their seeds have no batches in common with others'.
    """
    suite = part_of(name, pairs)
    metric = find_metric(ranked_by(bool(suite.tasks)), suite)
    rows = complete_rows(suite, NO_RUNS, find_results(None))
    seeing = [row for row in rows if row.name == row.info.name and "data_free" not in row.info.families]
    return {row.name: sample_of(row, suite, metric) for row in seeing}


def spread_of(samples: dict[str, Sample]) -> Prior | None:
    """How the ordinary methods' scores vary over seeds; of references too, which have more of them."""
    return estimate_prior([sample.scores for sample in samples.values()])


def fields(prior: Prior) -> list[str]:
    """As a suite's file has them."""
    return [f"seed_sd = {prior.sd:.2f}", f"seed_df = {prior.df:.0f}", f"seed_correlation = {prior.correlation:.2f}"]


def by_image(samples: dict[str, Sample]) -> float:
    """What the choice of test images adds to the variance of a usual method's difference from the plain student."""
    usual = ordinary([sample.scores for sample in samples.values()])
    others = [s for name, s in samples.items() if name != PLAIN and s.scores in usual]
    return float(np.mean(image_variance([samples[PLAIN], *others])[0, 1:]))


def lines(name: str) -> Iterator[str]:
    """The table, and the images' part."""
    samples = samples_of(name)
    prior = spread_of(samples)
    if prior is None:
        sys.exit(f"Suite '{name}' has too few complete rows among the accepted records.")
    yield f"[statistics]  # of {len(ordinary([s.scores for s in samples.values()]))} ordinary rows"
    yield from fields(prior)
    yield "\n[statistics.pairs]"
    for pair in load_suite(name).pairs:
        if spread := spread_of(samples_of(name, (str(pair),))):
            yield f'"{pair}" = {{ {", ".join(fields(spread))} }}'
    yield f"\nTest images add {by_image(samples):.4f} to the variance of a usual difference from the plain student."


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("suite", choices=list_suites())
    sys.stdout.writelines(f"{line}\n" for line in lines(parser.parse_args().suite))
