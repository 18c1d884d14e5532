"""Queries, keys and values of a transformer's blocks."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from kdbench.errors import NotApplicable


def attention_of(role: str, network: Any, block: str) -> Any:
    """The attention of a network's block, one of timm's: a linear layer makes queries, keys and values, with no norm.

    Raises:
        NotApplicable: the block has none; names it and the network.
    """
    attention = getattr(dict(network.named_modules()).get(block), "attn", None)
    norms = [type(getattr(attention, norm, None)) for norm in ("q_norm", "k_norm")]
    if not isinstance(getattr(attention, "qkv", None), nn.Linear) or norms != [nn.Identity, nn.Identity]:
        kind = type(network).__name__
        raise NotApplicable(f"the {role}, a {kind}, has no attention of queries, keys and values in {block}")
    return attention


def split(qkv: Tensor) -> Tensor:
    """(B, N, 3 D) to (3, B, N, D), in float32."""
    return qkv.float().unflatten(2, (3, -1)).permute(2, 0, 1, 3)
