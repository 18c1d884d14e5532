"""Strong views are what Pillow makes of the same pixels, and the same for whoever asks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from torch import Tensor

from kdbench.data.stream import strong_stream
from kdbench.data.strong import DRAWS, OPERATIONS, StrongViews, color, erase, same
from kdbench.suites import load_suite

CPU = torch.device("cpu")
HEIGHT, WIDTH = 32, 30
Picture = Image.Image
PINNED = ([6, 4, 4, 0, 1], [0.4874374270439148, 0.287367582321167])


def moved(picture: Picture, *matrix: float) -> Picture:
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix)


PILLOWS: tuple[Callable[[Picture, float], Picture], ...] = (
    lambda p, v: ImageOps.autocontrast(p),
    lambda p, v: ImageEnhance.Brightness(p).enhance(v),
    lambda p, v: ImageEnhance.Color(p).enhance(v),
    lambda p, v: ImageEnhance.Contrast(p).enhance(v),
    lambda p, v: ImageOps.equalize(p),
    lambda p, v: p,
    lambda p, v: ImageOps.posterize(p, int(v)),
    lambda p, v: p.rotate(v),
    lambda p, v: ImageEnhance.Sharpness(p).enhance(v),
    lambda p, v: moved(p, 1, v, 0, 0, 1, 0),
    lambda p, v: moved(p, 1, 0, 0, v, 1, 0),
    ImageOps.solarize,
    lambda p, v: moved(p, 1, 0, v * p.size[0], 0, 1, 0),
    lambda p, v: moved(p, 1, 0, 0, 0, 1, v * p.size[1]),
)


def pictures(channels: int) -> Tensor:
    """(4, C, H, W) uint8: noise, of few and of many values, and smooth."""
    generator = torch.Generator().manual_seed(5)
    noise = torch.randint(256, (4, channels, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)
    noise[1] //= 9
    noise[2] = noise[2] // 64 * 64 + 20
    noise[3] = (torch.arange(HEIGHT * WIDTH) // 5 % 256).reshape(HEIGHT, WIDTH)
    return noise


def by_pillow(pixels: Tensor, change: Callable[[Picture, float], Picture], value: float) -> Tensor:
    """What a function of pictures makes of each (C, H, W) image."""
    found = []
    for image in pixels:
        array = image.permute(1, 2, 0).numpy()
        changed = change(Image.fromarray(array[..., 0] if len(image) == 1 else array), value)
        found.append(np.atleast_3d(np.asarray(changed)).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(found))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n", range(len(OPERATIONS)))
def test_an_operation_is_pillows(n: int, channels: int) -> None:
    operation, low, high = OPERATIONS[n]
    pixels = pictures(channels)
    changed = False
    for share in (0.07, 0.4, 0.91):
        value = low + (high - low) * share
        ours = operation(pixels.float(), torch.full((4, 1, 1, 1), value))
        theirs = by_pillow(pixels, PILLOWS[n], value)
        assert ((ours - theirs).abs() <= 1).float().mean() > 0.99, value
        assert ours.equal(ours.round())
        changed |= not ours.equal(pixels.float())
    assert changed == (operation is not same and (operation is not color or channels == 3))


def test_the_square_is_pillows_rectangle_and_no_wider_than_half_the_image() -> None:
    draws = torch.tensor([[0.99, 0.5, 0.5], [0.5, 0.0, 0.0], [0.5, 0.999, 0.999], [0.1, 0.3, 0.8]])
    found = erase(torch.zeros(4, 1, HEIGHT, WIDTH), draws, torch.full((1, 1, 1), 7.0))[:, 0]
    for image, (size, row, column) in zip(found, draws.tolist(), strict=True):
        side = size * 0.5 * WIDTH
        x, y = (int(max(0, 1 + (length - 1) * at - side / 2)) for length, at in ((WIDTH, column), (HEIGHT, row)))
        picture = Image.new("L", (WIDTH, HEIGHT))
        ImageDraw.Draw(picture).rectangle((x, y, min(WIDTH, x + side), min(HEIGHT, y + side)), 7)
        assert np.array_equal(image.numpy(), np.asarray(picture))
    assert 0 < (found > 0).flatten(1).sum(dim=1).max() <= (WIDTH / 2 + 1) ** 2


def test_every_image_of_a_batch_is_distorted_as_if_it_were_alone() -> None:
    data, batch = load_suite("cifar100").data, 40
    index = torch.arange(batch)
    images = torch.rand(batch, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    strong = StrongViews(data, lambda index, view: images[index] + view[:, None, None, None], CPU)
    view, draws = map(torch.from_numpy, strong_stream("cifar100", 3, 2, batch, 1, DRAWS))
    together = strong(index, view, draws)
    apart = [strong(index[i : i + 1], view[i : i + 1], draws[i : i + 1]) for i in range(batch)]
    assert torch.equal(together, torch.cat(apart))
    assert together.dtype == torch.float32
    low, high = ((torch.tensor(edge) - torch.tensor(data.mean)) / torch.tensor(data.std) for edge in (0.0, 1.0))
    assert (together >= low[:, None, None] - 1e-6).all()
    assert (together <= high[:, None, None] + 1e-6).all()
    assert (together != images).flatten(1).any(dim=1).all()


def test_the_draws_are_pinned_and_each_place_has_its_own() -> None:
    view, draws = strong_stream("digits", 0, 0, 1000, 9, DRAWS)
    assert set(view) == set(range(9))
    assert draws.shape == (1000, DRAWS)
    assert draws.dtype == np.float32
    assert 0 <= draws.min() < 0.01 < 0.99 < draws.max() < 1
    assert (view[:5].tolist(), draws[0, :2].tolist()) == PINNED
    places = [("digits", 0, 0), ("digits", 1, 0), ("digits", 0, 1), ("other", 0, 0)]
    assert len({tuple(strong_stream(*place, 50, 9, DRAWS)[1][0]) for place in places}) == len(places)
    assert (np.bincount((draws[:, 0] * len(OPERATIONS)).astype(int)) > 40).all()
