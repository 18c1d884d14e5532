"""Knowledge distillation with equal weights, as about half of the papers weigh it."""

from __future__ import annotations

from kdbench import Field
from kdbench_methods.kd import KD


class KDCE(KD):
    """KD beside the whole cross-entropy: the weights of SemCKD's and SimKD's tables, and of CRD + KD.

    L = CE(z_s, y) + T^2 * KL(softmax(z_t / T) || softmax(z_s / T))

    As those authors' code (DefangChen/SimKD, distiller_zoo/KD.py and scripts/run_distill.sh, commit 2b389c3):
    value and gradient are equal, with their weights of 1 and temperature 4.
    """

    name, version = "kd_ce", 1

    class Params(KD.Params):
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the labels")
        kd_weight: float = Field(1.0, ge=0, description="weight of the divergence from the teacher")
