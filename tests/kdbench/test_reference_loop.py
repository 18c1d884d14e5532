"""kdbench's loop and a plain one from torchvision's transforms, on the same views, give the same losses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.reference_loop import kd_loss, reference_losses, view_of
from kdbench.cell import prepare
from kdbench.data import Dataset, load_data
from kdbench.networks import build_network
from kdbench.plan import Cell
from kdbench.plugins import load_method, source_sha256
from kdbench.stream import epoch_stream, torch_seed
from kdbench.suite import Suite, load_suite
from kdbench.views import Views

STEPS = 20


@pytest.fixture
def suite() -> Suite:
    suite = load_suite("cifar100")
    recipe = suite.recipe.model_copy(update={"precision": "float32"})
    return suite.model_copy(update={"recipe": recipe})


def random_images(suite: Suite) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (1400, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 100, (1400,), generator=generator)
    return Dataset(images[:1300], labels[:1300], images[1300:], labels[1300:])


def real_images(suite: Suite) -> Dataset:
    if not Path(os.environ.get("KDBENCH_DATA", ""), "cifar100").is_dir() or "KDBENCH_DATA" not in os.environ:
        pytest.skip("KDBENCH_DATA names no folder with cifar100")
    return load_data(suite.data)


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
        yield torch.stack(pictures), dataset.train_labels[torch.from_numpy(rows)]


def test_views_equal_torchvisions_pixel_for_pixel(suite: Suite) -> None:
    dataset = random_images(suite)
    cut = Views(suite.data, dataset.train_images, torch.device("cpu"))
    images = dataset.train_images.numpy().transpose(0, 2, 3, 1)
    view = torch.arange(162)
    found = cut(view, view)
    for v in range(162):
        expected = view_of(images[v], (*divmod(v // 2, 9), bool(v % 2)), 4, suite.data.mean, suite.data.std)
        assert torch.allclose(found[v], expected, rtol=0, atol=2e-6)  # of values up to 3; a pixel step is 0.014


@pytest.mark.parametrize("dataset", [random_images, real_images])
@pytest.mark.parametrize("method", ["vanilla", "kd"])
def test_the_first_steps_have_the_losses_of_a_plain_loop(method: str, dataset, suite: Suite) -> None:  # type: ignore[no-untyped-def]
    torch.set_num_threads(1)
    data = dataset(suite)
    suite = suite.model_copy(
        update={
            "models": {**suite.models, "resnet8": suite.models["resnet20"].model_copy(update={"name": "cifar_resnet8"})}
        }
    )
    teacher = build_network(suite, "resnet20", seed=5).eval().requires_grad_(False) if method == "kd" else None
    cls = load_method(method)
    cell = Cell(
        "cell", suite, method, 1, source_sha256(cls), student="resnet8", seed=0, params=cls.Params().model_dump()
    )
    trainer, _ = prepare(cell, data, teacher, torch.device("cpu"))
    trainer.student.train()
    mine = trainer.run_steps(trainer.feed(0).head(STEPS))[-1]

    student = build_network(suite, "resnet8", torch_seed(cell.stream, 0, "student"))
    loss = (lambda logits, _, labels: F.cross_entropy(logits, labels)) if method == "vanilla" else kd_loss
    reference = torch.tensor(list(reference_losses(reference_batches(suite, data), student, loss, teacher)))
    assert torch.allclose(mine, reference, rtol=1e-5, atol=1e-5), (mine - reference).abs().max()
