"""Methods that ask for further views within a step train on folders of large images, with a validation part too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdbench.data.access import load_dataset
from kdbench.data.large import LargeImages, list_images
from kdbench.networks.build import build_network
from kdbench.running.plan import Cell
from kdbench.running.prepare import prepare
from kdbench.suite import Suite
from kdbench.tables import Data, Model, Pair

DATA = Data(
    source="imagefolder/animals",
    num_classes=2,
    image_size=(72, 72),
    channels=3,
    train=10,
    test=2,
    validation=2,
    horizontal_flip=True,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.3, 0.4),
)


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Suite) -> Suite:
    random = np.random.default_rng(0)
    for split, count in (("train", 5), ("val", 1)):
        for name in ("cat", "dog"):
            place = tmp_path / "animals" / split / name
            place.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(random.integers(0, 256, (90, 80, 3), dtype=np.uint8)).save(place / f"{i}.png")
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path))
    list_images.cache_clear()
    return digits.model_copy(
        update={
            "data": DATA,
            "models": {"large": Model(name="digits_resnet8_w8"), "small": Model(name="digits_resnet8_w4")},
            "pairs": (Pair(teacher="large", student="small"),),
            "recipe": digits.recipe.model_copy(update={"batch_size": 4, "students": {}}),
        }
    ).with_validation()


@pytest.mark.parametrize("method", ["cskd", "ddgsd", "dlb", "kdcl", "kd", "mlld"])
def test_an_epoch_is_trained_on_the_rest_of_train(method: str, suite: Suite) -> None:
    cell = Cell("cell", suite, method, 1, "", student="small", seed=0)
    teachers = [build_network(suite, "large", 0).eval()] if method in ("kd", "kdcl", "mlld") else []
    trainer, _ = prepare(cell, load_dataset(cell.data), teachers, torch.device("cpu"))
    assert isinstance(trainer.images, LargeImages)
    trainer.images.workers = 0  # quicker than processes
    before = [p.detach().clone() for p in trainer.student.parameters()]
    terms = trainer.train_epoch(trainer.enter_stage(0))
    assert all(np.isfinite(value) for value in terms.values())
    assert any(not torch.equal(p, was) for p, was in zip(trainer.student.parameters(), before, strict=True))
    assert (trainer.steps_per_epoch, len(trainer.predict())) == (2, 2)
