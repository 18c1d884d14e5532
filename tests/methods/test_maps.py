"""Maps come to one size, and batch norm takes every batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from kdbench_methods.maps import BatchNorm, averaged, to_smaller

Random = Callable[..., Tensor]


@pytest.mark.parametrize("sizes", [((7, 7), (4, 4)), ((4, 4), (7, 7)), ((8, 3), (2, 6)), ((5, 5), (5, 5))])
def test_both_maps_get_the_smaller_height_and_width(sizes: tuple[tuple[int, int], ...], random: Random) -> None:
    one, other = to_smaller(random(2, 3, *sizes[0]), random(2, 5, *sizes[1]))
    smaller = tuple(min(edge) for edge in zip(*sizes, strict=True))
    assert one.shape == (2, 3, *smaller)
    assert other.shape == (2, 5, *smaller)


def test_a_map_is_averaged_over_its_cells(random: Random) -> None:
    small = random(2, 3, 2, 2)
    large = small.repeat_interleave(3, 2).repeat_interleave(3, 3)
    assert torch.allclose(averaged(large, (2, 2)), small)
    assert torch.equal(averaged(small, (2, 2)), small)


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4, 4), (1, 3, 2, 2)])
def test_batch_norm_is_pytorchs_where_that_is_defined(shape: tuple[int, ...], random: Random) -> None:
    ours = BatchNorm(3).double()
    theirs = (nn.BatchNorm1d(3) if len(shape) == 2 else nn.BatchNorm2d(3)).double()
    x = random(*shape)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.running_var, theirs.running_var)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
def test_one_value_a_channel_takes_the_running_statistics(shape: tuple[int, ...], random: Random) -> None:
    norm = BatchNorm(3).double()
    norm(random(8, 3))
    before = norm.running_mean.clone()
    x = random(*shape, seed=1).requires_grad_()
    y = norm(x)
    assert torch.equal(norm.running_mean, before)
    assert torch.allclose(y, norm.eval()(x))
    y.square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
