"""kdbench's loop and a plain one from torchvision's transforms, on the same views, give the same losses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.reference_loop import reference_losses, view_of
from kdbench.data.small import Dataset, load_data
from kdbench.data.stream import epoch_stream, torch_seed
from kdbench.data.views import Views
from kdbench.networks.build import build_network
from kdbench.running.plan import Cell
from kdbench.running.prepare import prepare
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Model

STEPS = 20


@pytest.fixture
def suite() -> Suite:
    suite = load_suite("cifar100")
    recipe = suite.recipe.model_copy(update={"precision": "float32"})
    return suite.model_copy(update={"recipe": recipe})


def random_images() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (1400, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 100, (1400,), generator=generator)
    return Dataset(images[:1300], labels[:1300], images[1300:], labels[1300:])


def reference_batches(suite: Suite, dataset: Dataset) -> Iterator[tuple[Tensor, Tensor]]:
    """The first batches of seed 0, each image cut alone."""
    n, size = len(dataset.train_labels), suite.recipe.batch_size
    index, views = epoch_stream(suite.name, 0, 0, n, 162)
    images = dataset.train_images.numpy().transpose(0, 2, 3, 1)
    for step in range(STEPS):
        rows, cut = (array[step * size : (step + 1) * size] for array in (index, views))
        places = [(*divmod(view // 2, 9), bool(view % 2)) for view in cut.tolist()]
        pictures = [
            view_of(images[row], place, 4, suite.data.mean, suite.data.std)
            for row, place in zip(rows, places, strict=True)
        ]
        images_last = torch.stack(pictures).contiguous(memory_format=torch.channels_last)  # sums in the same order
        yield images_last, dataset.train_labels[torch.from_numpy(rows)]


def test_views_equal_torchvisions_pixel_for_pixel(suite: Suite) -> None:
    dataset = random_images()
    cut = Views(suite.data, dataset.train_images, torch.device("cpu"))
    images = dataset.train_images.numpy().transpose(0, 2, 3, 1)
    view = torch.arange(162)
    found = cut(view, view)
    for v in range(162):
        expected = view_of(images[v], (*divmod(v // 2, 9), bool(v % 2)), 4, suite.data.mean, suite.data.std)
        assert torch.equal(found[v], expected)


def test_the_first_steps_have_the_losses_of_a_plain_loop(suite: Suite) -> None:
    compare(suite, random_images())


def test_the_first_steps_on_cifar100_have_the_losses_of_a_plain_loop(suite: Suite, real_data: None) -> None:
    compare(suite, load_data(suite.data))


def compare(suite: Suite, data: Dataset) -> None:
    """Of the plain student: rounding grows a hundredfold in these steps, so that all arithmetic has to be the same."""
    torch.set_num_threads(1)
    suite = suite.model_copy(update={"models": {**suite.models, "resnet8": Model(name="cifar_resnet8")}})
    cell = Cell("cell", suite, "vanilla", 1, "", student="resnet8", seed=0)
    trainer, _ = prepare(cell, data, [], torch.device("cpu"))
    trainer.student.train()
    mine = trainer.run_steps(trainer.feed(0).head(STEPS))[-1]

    student = build_network(suite, "resnet8", torch_seed(cell.stream, 0, "student"))
    student.to(memory_format=torch.channels_last)
    batches = reference_batches(suite, data)
    losses = reference_losses(batches, student, lambda logits, _, labels: F.cross_entropy(logits, labels), fused=True)
    assert torch.allclose(mine, torch.tensor(list(losses)), rtol=0, atol=1e-5)
