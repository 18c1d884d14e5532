"""Networks that learn beside the student, each from initial weights of its own."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from kdbench import Outputs, OwnNetwork, OwnNetworks, Setup


def make_peers(setup: Setup, role: str, count: int) -> OwnNetworks:
    """So many untrained networks of a role's architecture, to be registered by the method that trains them."""
    return OwnNetworks(setup.network(role) for _ in range(count))


def peer_models(peers: Iterable[OwnNetwork]) -> dict[str, nn.Module]:
    """The peers' models by the names under which they are recorded: "peer 1", "peer 2"."""
    return {f"peer {k}": peer.model for k, peer in enumerate(peers, 1)}


def all_logits(student: Outputs, peers: Iterable[OwnNetwork], images: Tensor) -> Tensor:
    """(K, B, C) logits of the same (B, C, H, W) images, the student's first."""
    return torch.stack([student.logits, *(peer(images).logits for peer in peers)])
