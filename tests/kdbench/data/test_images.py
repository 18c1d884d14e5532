"""Every image becomes 8-bit pixels without loss, upright, or is refused in one line."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from kdbench.data.images import open_image
from kdbench.errors import KdbenchError

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)
COLOUR = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def pixels(content: bytes, channels: int = 1) -> np.ndarray:
    return np.asarray(open_image(content, channels, "it"))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_grey_of_16_bits_is_scaled_and_not_cut_off(kind: str) -> None:
    wide = np.arange(256, dtype=np.uint16).reshape(16, 16) * 200
    assert np.array_equal(pixels(encoded(Image.fromarray(wide), kind)), np.rint(wide / 257).astype(np.uint8))
    assert np.array_equal(pixels(encoded(Image.fromarray(GREY.astype(np.uint16) * 257), kind)), GREY)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
def test_modes_of_8_bits_are_converted_as_pillow_does(mode: str) -> None:
    image = Image.fromarray(COLOUR).convert(mode)
    kind = {"CMYK": "TIFF", "YCbCr": "TIFF"}.get(mode, "PNG")
    content = encoded(image, kind)
    assert np.array_equal(pixels(content, 3), np.asarray(image.convert("RGB")))
    assert np.array_equal(pixels(content, 1), np.asarray(image.convert("L")))


@pytest.mark.parametrize("turn", range(1, 9))
def test_images_are_upright(turn: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    content = encoded(Image.fromarray(COLOUR), exif=exif.tobytes())
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert expected.shape == ((4, 5, 3) if turn > 4 else (5, 4, 3))
    assert np.array_equal(pixels(content, 3), expected)
    (tmp_path / "it.png").write_bytes(content)
    assert np.array_equal(np.asarray(open_image(tmp_path / "it.png", 3, "it")), expected)


def test_a_photograph_with_a_broken_exif_part_is_read_as_it_is() -> None:
    content = encoded(Image.fromarray(COLOUR), "JPEG", exif=b"Exif\0\0no such thing")
    assert pixels(content, 3).shape == (5, 4, 3)


def test_an_alpha_channel_that_hides_nothing_is_dropped() -> None:
    opaque = np.dstack([COLOUR, np.full((5, 4), 255, dtype=np.uint8)])
    assert np.array_equal(pixels(encoded(Image.fromarray(opaque)), 3), COLOUR)
    assert np.array_equal(pixels(encoded(Image.fromarray(opaque)), 1), np.asarray(Image.fromarray(COLOUR).convert("L")))


TRANSPARENT = Image.fromarray(np.dstack([COLOUR, np.full((5, 4), 254, dtype=np.uint8)]))
REFUSED = {
    "has transparent pixels": encoded(TRANSPARENT),
    "has transparent pixels.": encoded(TRANSPARENT.convert("LA")),
    "has transparent pixels. Save": encoded(Image.fromarray(GREY).convert("P"), transparency=7),
    "has 2 frames": encoded(Image.fromarray(GREY), "GIF", save_all=True, append_images=[Image.fromarray(255 - GREY)]),
    "has 2 frames.": encoded(Image.fromarray(GREY), "TIFF", save_all=True, append_images=[Image.fromarray(GREY)]),
    "has grey values of 32 bits": encoded(Image.fromarray(GREY.astype(np.int32) * 70000), "TIFF"),
    "has grey values of 32 bits.": encoded(Image.fromarray(GREY.astype(np.float32) / 255), "TIFF"),
    "it is no image that Pillow knows": b"no image",
    "Cannot read it: ": encoded(Image.fromarray(COLOUR).resize((64, 64)))[:200],
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_would_lose_pixels_is_refused_in_one_line(said: str) -> None:
    with pytest.raises(KdbenchError, match=said) as caught:
        open_image(REFUSED[said], 3, "it")
    assert "it" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_decompression_bomb_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(Image.new("L", (40, 40)))
    for limit in (1000, 400):  # of which Pillow only warns, and which it refuses
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(KdbenchError, match=f"Cannot read it: it has over {limit} pixels.*Save it smaller"):
            open_image(content, 1, "it")


def test_a_truncated_photograph_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    (tmp_path / "it.jpg").write_bytes(encoded(Image.fromarray(noise), "JPEG")[:-300])
    with pytest.raises(KdbenchError, match=r"Cannot read here/it.jpg: image file is truncated"):
        open_image(tmp_path / "it.jpg", 3, "here/it.jpg")


def test_a_file_that_is_gone_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match=r"Cannot read it: .*No such file"):
        open_image(tmp_path / "gone.png", 3, "it")
