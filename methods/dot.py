"""Distillation-oriented trainer, DOT (Zhao et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping

from kdbench import Field, Paper
from kdbench_methods.kd import KD


class DOT(KD):
    """KD whose gradients have more momentum than those of the labels, so that the distillation is optimised further.

    L = ce_weight * CE(z_s, y) + kd_weight * T^2 * KL(softmax(z_t / T) || softmax(z_s / T))

    v_ce = (m - momentum_shift) v_ce + g_ce,    v_kd = (m + momentum_shift) v_kd + g_kd
    w = w - rate * (v_ce + v_kd)

    m: the suite's momentum; g: the gradients of either term, with the weight decay in the first.

    As the authors' code (megvii-research/mdistiller, mdistiller/engine/dot.py, trainer.py and cfg.py and
    configs/cifar100/dot, commit a08d46f): the terms of its KD, and the weights after some steps of its optimizer are
    equal. A weight that only one term reaches has m there; KD has none.
    """

    name, version = "dot", 1
    paper = Paper(
        "DOT: A Distillation-Oriented Trainer", "Borui Zhao, Quan Cui, Renjie Song, Jiajun Liang", 2023, "2307.08436"
    )
    deviations = ("the gradients of the labels and of the teacher have a momentum each",)

    class Params(KD.Params):
        momentum_shift: float = Field(
            0.075, ge=0, lt=1, description="what the teacher's momentum has more than the suite's, and the labels' less"
        )

    def momentum_shifts(self) -> Mapping[str, float]:
        shift = self.params.momentum_shift
        return {"ce": -shift, "kd": shift}
