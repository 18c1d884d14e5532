"""How often the statistics of a board err, and what they find: PYTHONPATH=. python benchmarks/statistics_power.py

Boards are simulated from the components of a suite's noise: a reference and methods, of which two fifths are better, a
third of them each by three gains, or none is. Every estimator sees the same boards.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.records.contrast import contrast_scores
from kdbench.records.distributions import student_t_tails
from kdbench.records.dunnett import adjusted
from kdbench.records.moderation import Prior, estimate_prior
from kdbench.records.power import detectable_from
from kdbench.records.stats import holm

Scores = list[dict[int, float]]  # of each row, the reference first, by seed


@dataclass(frozen=True)
class Noise:
    """The components of a suite's noise: seeds, their correlation between methods, and test images (a variance)."""

    prior: Prior
    by_image: float


@dataclass(frozen=True)
class Layout:
    """How many methods there are, and seeds of a method and of the reference."""

    methods: int
    seeds: int
    references: int


DIGITS = Noise(Prior(0.44, 28, 0.2), 0.011)  # of the accepted records' ordinary methods
QUARTER = Noise(Prior(0.29, 10, 0.19), 0.025)  # the same
NOISES = {
    "digits": (DIGITS, 5),
    "digits, ten seeds": (DIGITS, 10),
    "cifar100-quarter": (QUARTER, 5),
    "variances alike in all methods": (Noise(Prior(0.50, 1000, 0.1), 0.011), 5),
    "variances unlike": (Noise(Prior(0.50, 5, 0.1), 0.011), 5),
    "seeds do not correlate": (Noise(Prior(0.50, 10, 0.0), 0.011), 5),
    "seeds correlate by 0.5": (Noise(Prior(0.50, 10, 0.5), 0.011), 5),
    "images as noisy as seeds": (Noise(Prior(0.10, 10, 0.1), 0.004), 5),
    # 0.23 a pair: crd_repro_5seeds in leaderboard/data/published.csv, resnet32x4 to resnet8x4
    "13 pairs of CIFAR-100": (Noise(Prior(0.23 / math.sqrt(13), 10, 0.1), 0.0035), 5),
    "10 pairs of CIFAR-100, 3 seeds": (Noise(Prior(0.23 / math.sqrt(10), 10, 0.1), 0.0035), 3),
}
GAINS = (0.75, 1.0, 1.5)


def board(rng: np.random.Generator, noise: Noise, layout: Layout, gains: Sequence[float]) -> tuple[Scores, np.ndarray]:
    """Scores of the reference and of methods, and the methods' true gains."""
    rows, prior = layout.methods + 1, noise.prior
    gain = np.zeros(rows)
    better = 1 + rng.permutation(layout.methods)[: 2 * layout.methods // 5]
    if gains:
        gain[better] = np.resize(gains, len(better))
    sd = prior.sd * np.sqrt(prior.df / rng.chisquare(prior.df, rows))
    seeds = max(layout.seeds, layout.references)
    common, own = rng.normal(size=seeds), rng.normal(size=(rows, seeds))
    wobble = sd[:, None] * (math.sqrt(prior.correlation) * common + math.sqrt(1 - prior.correlation) * own)
    table = 95 + gain[:, None] + wobble + rng.normal(0, math.sqrt(noise.by_image / 2), (rows, 1))
    counts = [layout.references] + [layout.seeds] * layout.methods
    return [dict(enumerate(map(float, row[:count]))) for row, count in zip(table, counts, strict=True)], gain[1:]


@dataclass(frozen=True)
class Tested:
    """P-values of no difference and of the true one, and what Dunnett's correction reads."""

    none: list[float]
    true: list[float]
    shared: list[float]
    own: list[float]


def paired(scores: Scores, gain: np.ndarray, noise: Noise) -> Tested:
    """A paired t test over the common seeds."""
    found, true = [], []
    for row, truth in zip(scores[1:], gain, strict=True):
        differences = np.array([value - scores[0][seed] for seed, value in row.items() if seed in scores[0]])
        df = len(differences) - 1
        error = math.sqrt(float(differences.var(ddof=1)) / len(differences) + noise.by_image)
        found.append(student_t_tails(float(differences.mean()) / error, df))
        true.append(student_t_tails(float(differences.mean() - truth) / error, df))
    return Tested(found, true, [0.5] * len(found), [float(len(scores[1]) - 1)] * len(found))


def unpaired(prior: Callable[[Scores, Noise], Prior | None]) -> Callable[[Scores, np.ndarray, Noise], Tested]:
    """The same from all seeds, with variances moderated by a prior."""

    def tests(scores: Scores, gain: np.ndarray, noise: Noise) -> Tested:
        found = contrast_scores(scores, noise.by_image, prior(scores, noise))
        differences, errors, freedoms = (t[1:, 0].tolist() for t in (found.mean, found.error, found.freedom))
        parts = list(zip(differences, errors, freedoms, gain.tolist(), strict=True))
        no = [student_t_tails(d / e, f) for d, e, f, _ in parts]
        true = [student_t_tails((d - truth) / e, f) for d, e, f, truth in parts]
        return Tested(no, true, found.shared[1:, 0].tolist(), found.own[1:].tolist())

    return tests


def benjamini_hochberg(p_values: Sequence[float]) -> list[float | None]:
    """P-values adjusted for the false-discovery rate."""
    order = np.argsort(p_values)[::-1]
    scaled = np.array(p_values)[order] * len(order) / np.arange(len(order), 0, -1)
    found = np.empty(len(order))
    found[order] = np.minimum.accumulate(np.minimum(scaled, 1))
    return [float(p) for p in found]


STATED = unpaired(lambda scores, noise: noise.prior)
ESTIMATED = unpaired(lambda scores, noise: estimate_prior(scores[1:]))
OWN = unpaired(lambda scores, noise: None)
CHOSEN, UNSTATED = "moderated (stated prior), Dunnett", "moderated (estimated prior), Dunnett"


def dunnett(tested: Tested) -> list[float | None]:
    return adjusted(tested.none, tested.shared, tested.own)


ESTIMATORS: dict[str, tuple[Callable[[Scores, np.ndarray, Noise], Tested], Callable[[Tested], list[float | None]]]] = {
    "paired t, Holm": (paired, lambda tested: holm(tested.none)),
    "own variances, Dunnett": (OWN, dunnett),
    UNSTATED: (ESTIMATED, dunnett),
    "moderated (stated prior), Holm": (STATED, lambda tested: holm(tested.none)),
    CHOSEN: (STATED, dunnett),
    "moderated (stated prior), false-discovery rate": (STATED, lambda tested: benjamini_hochberg(tested.none)),
}


@dataclass
class Count:
    """What an estimator did on simulated boards."""

    boards: int = 0
    any_wrong: int = 0
    wrong_part: float = 0.0
    covered: float = 0.0
    found: np.ndarray | None = None

    def add(self, p: np.ndarray, true: np.ndarray, gain: np.ndarray, gains: Sequence[float], means: np.ndarray) -> None:
        """One board: corrected p-values, p-values of the truth, true gains, estimated ones."""
        called = p <= 0.05
        wrong = called & ((gain == 0) | (means * gain < 0))
        self.boards += 1
        self.any_wrong += bool(wrong.any())
        self.wrong_part += wrong.sum() / max(1, called.sum())
        self.covered += float((true > 0.05).mean())
        hits = np.array([called[gain == g].mean() for g in gains])
        self.found = hits if self.found is None else self.found + hits

    def rates(self) -> list[str]:
        """Boards with any wrong claim, wrong ones among the claims, coverage, and the chance to call each gain."""
        counts = [self.any_wrong, self.wrong_part, self.covered, *(self.found if self.found is not None else ())]
        return [
            f"{count / self.boards:.3f}" if n == 0 else f"{count / self.boards:.2f}" for n, count in enumerate(counts)
        ]


def simulate(
    noise: Noise, layout: Layout, gains: Sequence[float], estimators: Sequence[str], boards: int, seed: int = 0
) -> dict[str, Count]:
    """What each estimator does on the same boards."""
    rng = np.random.default_rng(seed)
    counts = {name: Count() for name in estimators}
    for _ in range(boards):
        scores, gain = board(rng, noise, layout, gains)
        means = np.array([np.mean(list(row.values())) for row in scores])
        for name, count in counts.items():
            test, correct = ESTIMATORS[name]
            tested = test(scores, gain, noise)
            corrected = np.array(correct(tested), dtype=np.float64)
            count.add(corrected, np.array(tested.true), gain, gains, means[1:] - means[0])
    return counts


def detectable(noise: Noise, layout: Layout) -> float:
    """The gain that the board of such a suite says it finds with 80 % power."""
    scores: Scores = []
    for count in [layout.references] + [layout.seeds] * layout.methods:
        values = np.arange(count, dtype=np.float64)
        values *= noise.prior.sd / values.std(ddof=1)
        scores.append(dict(enumerate(values.tolist())))
    value = detectable_from(contrast_scores(scores, noise.by_image, noise.prior), 0)
    assert value is not None
    return value


def compare_estimators(methods: int, boards: int) -> Iterator[str]:
    """Every estimator on boards like that of `digits`."""
    heads = ["any wrong claim", "wrong among claims", "coverage", *(f"gain {gain}" for gain in GAINS)]
    yield table_line("seeds, of the reference", "estimator", *heads)
    yield table_line(*["---"] * (2 + len(heads)))
    for seeds, references in ((5, 5), (5, 20), (10, 20), (10, 40)):
        layout = Layout(methods, seeds, references)
        for name, count in simulate(DIGITS, layout, GAINS, list(ESTIMATORS), boards).items():
            yield table_line(f"{seeds}, {references}", name, *count.rates())


def compare_suites(methods: int, boards: int) -> Iterator[str]:
    """The chosen estimator on boards with other noise; gains are those that the board says it detects."""
    yield table_line(
        "noise", "seeds, of the reference", "any wrong claim", "where none is better", "coverage", "detects", "finds it"
    )
    yield table_line(*["---"] * 7)
    for name, (noise, seeds) in NOISES.items():
        for references in (seeds, 2 * seeds) if seeds > 5 else (seeds, 4 * seeds):
            layout = Layout(methods, seeds, references)
            size = detectable(noise, layout)
            for chosen in (CHOSEN, UNSTATED):
                wrong, _, covered, found = simulate(noise, layout, [size], [chosen], boards)[chosen].rates()
                none = simulate(noise, layout, [], [chosen], boards)[chosen].rates()[0]
                prior = "" if chosen == CHOSEN else ", prior estimated"
                yield table_line(f"{name}{prior}", f"{seeds}, {references}", wrong, none, covered, f"{size:.2f}", found)


def table_line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the tables of docs/statistics.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--boards", type=int, default=600, help="simulated boards of each kind")
    parser.add_argument("--methods", type=int, default=59)
    arguments = parser.parse_args()
    for table in (compare_estimators, compare_suites):
        for line in table(arguments.methods, arguments.boards):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        sys.stdout.write("\n")


if __name__ == "__main__":
    main()
