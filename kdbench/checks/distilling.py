"""What a method that distils data must keep to: images as the suite asks for, and the same ones from the same seed."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import numpy as np
import torch

from kdbench.checks.bench import CPU, SAMPLES, SEED, Bench, fail_if, first_difference, random_images, small_suite
from kdbench.data.small import Dataset
from kdbench.dataset_method import DatasetMethod
from kdbench.running.distilling import Distilling
from kdbench.running.plan import assemble
from kdbench.running.timing import untrained_teachers
from kdbench.tables import Distilled, Pair

CLASSES, EACH = 3, 2  # and images of each
LONG = 2  # iterations at most
MAKER = "resnet8_w4"  # has batch norms, and takes milliseconds


def work(bench: Bench) -> Distilling:
    """The method on random images of three classes, before its first iteration."""
    suite = small_suite()
    data = suite.data.model_copy(update={"num_classes": CLASSES})
    suite = suite.model_copy(update={"data": data, "distilled": Distilled(images_per_class=EACH)})
    pair = Pair(teacher=MAKER, student=MAKER)
    values = bench.cls.Params.model_validate(bench.cls.checked_with).model_dump(mode="json")
    cell = assemble(suite, bench.cls, pair, SEED, values, {}, source="")
    assert issubclass(bench.cls, DatasetMethod)
    found = Distilling(cell, balanced(), untrained_teachers(suite, bench.cls, pair), CPU, bench.cls)
    found.iterations = min(found.iterations, LONG)
    return found


def balanced() -> Dataset:
    """Random images, equally many of each class."""
    images = random_images()
    labels = torch.arange(SAMPLES) % CLASSES
    return Dataset(images.train_images, labels, images.test_images, images.test_labels)


def makes_its_images(bench: Bench) -> None:
    """After its iterations, and before, it has as many images of each class as the suite asks for, all finite."""
    found = work(bench)
    fail_if(found.iterations < 0, "iterations gives less than none.")
    shape = (CLASSES * EACH, 1, 8, 8)
    while True:
        images = found.method.synthetic()
        fail_if(
            tuple(images.shape) != shape or not images.is_floating_point(),
            f"synthetic gives {images.dtype} of shape {tuple(images.shape)}: give floats of shape {shape}, "
            "setup.images_per_class of each class, the classes in their order.",
        )
        fail_if(not images.isfinite().all(), "an image is not finite: look for a division by a norm or a deviation.")
        if found.done == found.iterations:
            return
        loss = found.improve()
        fail_if(loss is not None and not np.isfinite(loss), "improve gives a loss that is not finite.")


def leaves_training_images_alone(bench: Bench) -> None:
    """The training images and their labels are as before, and so is the trained network that it reads."""
    found, before = work(bench), balanced()
    setup = found.setup
    while found.done < found.iterations:
        found.improve()
    rows = torch.arange(SAMPLES)
    own = before.inputs(found.cell.data, SAMPLES, CPU).cut(rows, torch.full_like(rows, setup.plain_view))
    fail_if(not torch.equal(setup.images(rows, torch.full_like(rows, setup.plain_view)), own), "it changes images.")
    fail_if(not torch.equal(setup.train_labels, before.train_labels), "it changes setup.train_labels: clone them.")


def distils_the_same_again(bench: Bench) -> None:
    """Two runs from the same seed make the same images, whatever was drawn before."""
    ends = []
    for disturb in range(2):
        torch.rand(1 + disturb), np.random.rand(1 + disturb), random.random()  # noqa: S311
        found = work(bench)
        while found.done < found.iterations:
            found.improve()
        ends.append(found.tensors())
    different = first_difference(*ends)
    fail_if(
        different is not None,
        f"two runs from the same seed differ (in {different}): is something drawn without setup.generator, or read "
        "from a clock or a global?",
    )


def goes_on_with_its_images(bench: Bench) -> None:
    """A run that is restored from a checkpoint makes the images of one that was never interrupted."""
    whole, cut, rest = work(bench), work(bench), work(bench)
    if not whole.iterations:
        return
    for one in (whole, cut):
        one.improve()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        cut.save(path)
        rest.restore(path)
    for one in (whole, rest):
        while one.done < one.iterations:
            one.improve()
    different = first_difference(whole.tensors(), rest.tensors())
    fail_if(
        different is not None,
        f"after an interruption it goes another way ('{different}' differs): keep whatever changes in buffers "
        "(self.register_buffer) and modules.",
    )
