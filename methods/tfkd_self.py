"""Teacher-free KD by self-training, Tf-KD_self (Yuan et al. 2020)."""

from __future__ import annotations

from kdbench import Field, Setup
from kdbench_methods.parts.generations import Generations
from kdbench_methods.tfkd_reg import TfKDReg


class TfKDSelf(Generations):
    """The student learns from a plainly trained network of its own architecture.

    First:  L = CE(z_0, y)
    Then:   L = ce_weight * CE(z_s, y) + kd_weight * T^2 * KL(softmax(z_0 / T) || softmax(z_s / T))

    As the authors' code (github.com/yuanli2333/Teacher-free-Knowledge-Distillation, my_loss_function.py, train_kd.py,
    commit d000ab3): the loss, T and weights of its ResNet-18. It averages the divergence over batch and classes and
    multiplies it by a number for each network; here it is summed over classes, so that on 100 classes the weights are
    0.95 * 50 / 100 = 0.475 beside 0.05 (its other networks: 0.0095 to 0.9). On purpose otherwise: there the teacher is
    the epoch that was best on test data, from the student's seed; here it is the last epoch, from weights of its own.
    """

    name, version = "tfkd_self", 1
    paper = TfKDReg.paper

    class Params(Generations.Params):
        temperature: float = Field(6.0, gt=0, description="T, softens both distributions")
        ce_weight: float = Field(0.05, ge=0, description="weight of the cross-entropy with the labels")
        kd_weight: float = Field(0.475, ge=0, description="weight of the divergence from the plain network")

    def build(self, setup: Setup) -> None:
        self.make(setup, 1)
