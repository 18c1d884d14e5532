"""One image, of whatever source, to 8-bit pixels; what would lose pixels or has none of its own is refused."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

from kdbench.errors import KdbenchError, first_line

MODES = {1: "L", 3: "RGB"}  # Pillow's, by channels


def open_image(source: bytes | Path, channels: int, name: str) -> Image.Image:
    """An encoded image or a file, upright (its EXIF orientation applied), in grey or RGB of 8 bits.

    Grey of 16 bits is divided by 257 and rounded. Of further bits of colours Pillow keeps the upper 8.

    Args:
        name: of the image, for messages.

    Raises:
        KdbenchError: no whole image; several frames, transparent pixels, or grey of more than 16 bits.
    """
    try:
        with (
            warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
            Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image,
        ):
            frames = getattr(image, "n_frames", 1)
            if frames > 1 and image.format != "MPO":  # a photograph whose further frames are previews or depths
                raise KdbenchError(f"{name} has {frames} frames. Save the one that is meant.")
            return eight_bits(image, name).convert(MODES[channels])
    except KdbenchError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = f"over {Image.MAX_IMAGE_PIXELS} pixels, for which Pillow takes it for a decompression bomb"
        raise KdbenchError(f"Cannot read {name}: it has {limit}. Save it smaller.") from error
    except UnidentifiedImageError as error:
        raise KdbenchError(f"Cannot read {name}: it is no image that Pillow knows.") from error
    except Exception as error:  # whatever a damaged file makes Pillow say
        raise KdbenchError(f"Cannot read {name}: {first_line(error)}.") from error


def eight_bits(image: Image.Image, name: str) -> Image.Image:
    """An upright image of 8 bits a channel, without transparency."""
    upright = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") and "transparency" in image.info:
        raise KdbenchError(f"{name} has transparent pixels. Save it on the background that is meant.")
    if isinstance(image, TiffImageFile) and image.mode.startswith("I;16") and image.tag_v2.get(BITSPERSAMPLE) != (16,):
        raise KdbenchError(f"{name} has grey values of neither 8 nor 16 bits. Save it with one of these.")
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        wide = np.asarray(upright).astype(np.uint32)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise KdbenchError(f"{name} has grey values of 32 bits. Save it with 8 or 16 bits.")
    if "A" in image.getbands() or "transparency" in image.info:
        if upright.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            raise KdbenchError(f"{name} has transparent pixels. Save it on the background that is meant.")
        return upright.convert("RGBA")
    return upright
