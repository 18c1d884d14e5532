"""How sure a row's rank is: the ranks that the evidence leaves open (Mogstad, Romano, Shaikh and Wilhelm 2024).

Inference for Ranks with Applications to Mobility across Neighbourhoods and Academic Achievement across Countries,
Review of Economic Studies 91(1), section 3: a row is compared with all others; those that are measurably better stand
above it, those measurably worse below, and the rest may stand on either side.
"""

from __future__ import annotations

import numpy as np

from kdbench.records.contrast import Contrasts

RankSet = tuple[int, int]  # first and last rank, 1 is the best


def rank_sets(contrasts: Contrasts, higher_is_better: bool = True, level: float = 0.05) -> list[RankSet | None]:
    """For each row the ranks that its true rank is among, with 95 % confidence for each row by itself.

    None where a row has one seed, which tells nothing of its rank.
    """
    count, told, ahead = len(contrasts.mean), contrasts.told, contrasts.mean > 0
    apart = (told <= level) & (contrasts.mean != 0)
    above = (apart & (ahead == higher_is_better)).sum(axis=0)
    below = (apart & (ahead != higher_is_better)).sum(axis=0)
    alone = np.isnan(told).all(axis=0) if count > 1 else np.array([False] * count)
    return [None if alone[j] else (1 + int(above[j]), count - int(below[j])) for j in range(count)]
