"""A transformer's block, for heads on its tokens."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Attention and a perceptron on (B, N, D) tokens, each behind a layer norm and beside a shortcut.

    As timm's: queries, keys and values have no bias.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.qkv, self.project = (
            nn.LayerNorm(width),
            nn.Linear(width, 3 * width, False),
            nn.Linear(width, width),
        )
        self.norm2, self.perceptron = nn.LayerNorm(width), perceptron(width)

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(tokens)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        tokens = tokens + self.project(attended)
        return tokens + self.perceptron(self.norm2(tokens))


def perceptron(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
