"""How sure a row's rank is: the ranks that the evidence leaves open (Mogstad, Romano, Shaikh and Wilhelm 2024).

Inference for Ranks with Applications to Mobility across Neighbourhoods and Academic Achievement across Countries,
Review of Economic Studies 91(1), section 3: a row is compared with all others; those that are measurably better stand
above it, those measurably worse below, and the rest may stand on either side.
"""

from __future__ import annotations

from kdbench.records.contrast import Contrasts
from kdbench.records.dunnett import adjusted

RankSet = tuple[int, int]  # first and last rank, 1 is the best


def rank_sets(contrasts: Contrasts, higher_is_better: bool = True, level: float = 0.05) -> list[RankSet | None]:
    """For each row the ranks that its true rank is among, with 95 % confidence for each row by itself.

    None where a row has one seed, which tells nothing of its rank.
    """
    count = len(contrasts.mean)
    p_values = [[contrasts.p_value(i, j) if i < j else None for j in range(count)] for i in range(count)]
    found: list[RankSet | None] = []
    for j in range(count):
        others = [i for i in range(count) if i != j]
        ps = [p_values[min(i, j)][max(i, j)] for i in others]
        told = adjusted(ps, [float(contrasts.shared[i, j]) for i in others])
        apart = [float(contrasts.mean[i, j]) for i, p in zip(others, told, strict=True) if p is not None and p <= level]
        above = sum((d > 0) == higher_is_better for d in apart if d != 0)
        below = sum(d != 0 for d in apart) - above
        alone = all(p is None for p in ps) and bool(others)
        found.append(None if alone else (1 + above, count - below))
    return found
