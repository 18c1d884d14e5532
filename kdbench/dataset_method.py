"""The contract of methods that distil the training set itself: into a few images a class that students learn from.

Such a method makes `setup.images_per_class` images of each class, from the training images that `setup.images` gives.
Students of several architectures are then trained on these images alone, by the suite's recipe and the plain loss, as
the plain student is on all of the training set: nothing of the method runs meanwhile.

    class MeanImage(DatasetMethod):
        name, version = "mean_image", 1
        paper = Paper("...", "...", 2026)
        scheme = "offline"
        requires = {"images"}

        def build(self, setup):
            of_class = [(setup.train_labels == label).nonzero()[:, 0] for label in range(setup.num_classes)]
            every = [setup.images(rows, torch.full_like(rows, setup.plain_view)) for rows in of_class]
            means = torch.stack([images.mean(dim=0) for images in every])
            self.register_buffer("means", means.repeat_interleave(setup.images_per_class, dim=0))

        def synthetic(self):
            return self.means

One that improves its images step by step says how often in `iterations`, and does so in `improve`.

It is registered as any method is, and runs on suites that have a table `[distilled]`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from kdbench.given import Batch, Outputs
from kdbench.method import Method

__all__ = ["DatasetMethod"]


class DatasetMethod(Method):
    """A method that makes a small training set.

    It is built once a seed, whatever the students; `setup` is as of any method, where `setup.train_labels` are those of
    the whole training set, `setup.images(index, view)` its images (`setup.plain_view` is an image as it is) and
    `setup.network("teacher")` makes networks with fresh weights of the architecture that the suite makes images by,
    where `requires` names "teacher.network". Their logits and the outputs of "teacher" that `requires` names are
    differentiable twice in their parameters and images. What changes must be in buffers and modules, as everywhere.
    """

    families: ClassVar[tuple[str, ...]] = ("dataset_distillation",)

    @classmethod
    def distils_data(cls) -> bool:
        return True

    def iterations(self) -> int:
        """How often the images are improved once they are built: never."""
        return 0

    def improve(self, iteration: int) -> Tensor | None:
        """Improve the images once; returns the loss, a 0-dim tensor to show, if there is one.

        Called `iterations()` times; the state between two calls is checkpointed. PyTorch's global generator is
        seeded anew before each call, so that networks initialise as usual.
        """

    @abstractmethod
    def synthetic(self) -> Tensor:
        """(K, C, H, W) the images, K = classes times images a class, normalised as the suite's: all of the first class,
        then those of the next. They are rounded to pixels of 8 bits, and cut off where darker or brighter than these.
        """
        raise NotImplementedError

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        """Not for methods to define: students learn from the images by the plain loss."""
        raise NotImplementedError(f"'{self.name}' makes images, and has no loss of a student")
