"""Born-again networks (Furlanello et al. 2018)."""

from __future__ import annotations

from kdbench import Field, Paper, Setup
from kdbench_methods.parts.generations import Generations


class BAN(Generations):
    """The student learns from its own like, which learned from its own like, and so on to a plain network.

    Generation 0:  L = CE(z_0, y)
    Generation k:  L = ce_weight * CE(z_k, y) + kd_weight * KL(softmax(z_{k-1}) || softmax(z_k))

    The student is the last of the `generations` that are taught: three cost as much as four plain trainings. Neither
    side is softened. The paper has networks that learn from the teacher alone and others that learn from the labels as
    well; these do.

    Known second hand: no code of the authors was found; generations, no temperature and both terms are from the paper,
    the weights of 1 are a choice. A reimplementation (github.com/nocotan/born_again_neuralnet, ban/updater.py, commit
    571e71e) softens by T = 20 and weighs the terms 0.8 and 0.2, its divergence a mean over batch and classes.
    """

    name, version = "ban", 1
    paper = Paper(
        "Born-Again Neural Networks",
        "Tommaso Furlanello, Zachary C. Lipton, Michael Tschannen, Laurent Itti, Anima Anandkumar",
        2018,
        "1805.04770",
    )

    class Params(Generations.Params):
        generations: int = Field(3, ge=1, description="networks that are taught by the one before")

    def build(self, setup: Setup) -> None:
        self.make(setup, self.params.generations)
