"""Teacher-free KD by self-training, Tf-KD_self (Yuan et al. 2020)."""

from __future__ import annotations

from kdbench import Field, Setup
from kdbench_methods.parts.generations import Generations
from kdbench_methods.tfkd_reg import TfKDReg


class TfKDSelf(Generations):
    """The student learns from a plainly trained network of its own architecture.

    First:  L = CE(z_0, y)
    Then:   L = ce_weight * CE(z_s, y) + kd_weight * T^2 * KL(softmax(z_0 / T) || softmax(z_s / T))

    The authors' code (my_loss_function.py of github.com/yuanli2333/Teacher-free-Knowledge-Distillation, commit
    880a74e) averages the divergence over batch and classes and multiplies it by a number for each network. Here it is
    summed over classes, and the weights are those of its ResNet-18 on 100 classes: 0.95 * 50 / 100 = 0.475 beside
    0.05. Its other networks have 0.0095 to 0.95. There the teacher is the epoch that was best on test data, and starts
    from the student's seed; here it is the last epoch, from weights of its own.
    """

    name, version = "tfkd_self", 1
    paper = TfKDReg.paper

    class Params(Generations.Params):
        temperature: float = Field(6.0, gt=0, description="T, softens both distributions")
        ce_weight: float = Field(0.05, ge=0, description="weight of the cross-entropy with the labels")
        kd_weight: float = Field(0.475, ge=0, description="weight of the divergence from the plain network")

    def build(self, setup: Setup) -> None:
        self.make(setup, 1)
