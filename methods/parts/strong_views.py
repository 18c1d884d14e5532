"""What methods share that look at an image and at its strong view."""

from __future__ import annotations

from dataclasses import replace

import torch

from kdbench import Batch


def with_strong_views(batch: Batch) -> Batch:
    """The same batch, its images followed by their strong views: all outputs of both networks have two halves."""
    assert batch.strong_images is not None
    return replace(batch, images=torch.cat([batch.images, batch.strong_images]), view=None)
