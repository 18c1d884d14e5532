"""A small `Setup` for methods that are built without a trainer."""

from __future__ import annotations

from typing import Any

import torch

from kdbench import Setup, Shapes

CLASSES = 3


def small_setup(**given: Any) -> Setup:
    """Twelve training images of three classes, ten steps, no outputs but the logits; `given` replaces any of it."""
    values: dict[str, Any] = {
        "student": Shapes("student"),
        "teacher": Shapes("teacher"),
        "train_labels": torch.arange(12) % CLASSES,
        "num_classes": CLASSES,
        "mean": (0.0,),
        "std": (1.0,),
        "num_steps": 10,
        "device": torch.device("cpu"),
        "generator": torch.Generator().manual_seed(1),
    }
    return Setup(**(values | given))
