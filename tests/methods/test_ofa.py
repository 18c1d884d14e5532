"""OFA's heads on maps and on tokens, and the teacher's classes with the label's raised."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from kdbench import Shapes
from kdbench_methods.ofa import OFA, TokenHead, cross_entropy
from kdbench_methods.parts.transformer import Block
from tests.methods.small import CLASSES, small_setup


def built(*maps: tuple[int, int, int]) -> OFA:
    method = OFA(OFA.Params())
    student = Shapes("student", embedding=maps[-1][0], features=maps)
    method.build(small_setup(student=student, teacher=Shapes("teacher", embedding=12)))
    return method


def test_heads_on_maps_halve_them_as_often_as_stages_follow() -> None:
    maps = ((4, 8, 8), (6, 4, 4), (8, 2, 2))
    method = built(*maps)
    assert [head(torch.randn(2, *shape)).shape for head, shape in zip(method.heads, maps, strict=True)] == [
        (2, CLASSES)
    ] * 3
    last = [head[-1].in_features for head in method.heads]
    assert last == [12, 12, 12]  # the teacher's embedding, which is the wider one
    inner = [m.out_channels for m in method.heads[0].modules() if isinstance(m, torch.nn.Conv2d)]
    assert inner == [4, 4, 4, 8, 8, 8, 8, 12]


def test_heads_on_tokens_have_blocks_as_many_as_maps_follow_and_at_least_one() -> None:
    method = built(*[(8, 2, 2)] * 4)
    assert [len(head.blocks) for head in method.heads if isinstance(head, TokenHead)] == [3, 2, 1, 1]
    assert method.heads[0](torch.randn(2, 8, 2, 2)).shape == (2, CLASSES)


def test_a_block_does_not_care_for_the_order_of_tokens(random: Any) -> None:
    block, tokens = Block(8, 2).double(), random(2, 5, 8)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert torch.allclose(block(tokens)[:, order], block(tokens[:, order]))


def test_classes_of_an_exponent_of_1_are_the_teachers(random: Any) -> None:
    z_s, z_t = random(4, 3), random(4, 3, seed=1)
    expected = F.cross_entropy(z_s, z_t.softmax(dim=1))
    assert cross_entropy(z_s, z_t.softmax(dim=1)).item() == pytest.approx(expected.item())
