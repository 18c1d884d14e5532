"""Dataset condensation with differentiable siamese augmentation (Zhao and Bilen 2021)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from kdbench import Field, Paper
from kdbench_methods.dc import DC
from kdbench_methods.parts.siamese import STRATEGY, Augmentation


class DSA(DC):
    """Gradients are matched as in `dc`, of real and learned images under one and the same random augmentation.

    L(S) = sum_c D(dCE(A(S_c))/dw, dCE(A(T_c))/dw)

    A is drawn for each class and step: one of colour, crop, cutout, flip, scale and rotation, with one draw of its
    numbers for all images. While the network learns from the images, each has a draw of its own.

    As the authors' code (github.com/VICO-UoE/DatasetCondensation, main.py and utils.py, commit 53f63a6): each
    augmentation and its ranges, one at a time. On purpose otherwise: there students see the same augmentations of the
    learned images; here the suite's own, as under every method.
    """

    name, version = "dsa", 1
    paper = Paper(
        "Dataset Condensation with Differentiable Siamese Augmentation", "Bo Zhao, Hakan Bilen", 2021, "2102.08259"
    )

    class Params(DC.Params):
        start: Literal["noise", "real"] = Field("real", description="what the images are at first")
        strategy: str = Field(STRATEGY, pattern=r"^[a-z_]+$", description="augmentations, one of which is drawn")

    def alike(self, real: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        one = Augmentation(self.params.strategy).drawn(1, self.setup.generator)
        return one(real), one(own)

    def varied(self, images: Tensor) -> Tensor:
        return Augmentation(self.params.strategy).drawn(len(images), self.setup.generator)(images)
