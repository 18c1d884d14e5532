"""`kdbench explain`: what a teacher says of one image, at several temperatures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.console import Console
from torch import Tensor

from kdbench.commands.list_methods import print_rows
from kdbench.console import Notice, line_printer, write_json
from kdbench.data.access import load_dataset, with_known_content
from kdbench.data.small import Dataset
from kdbench.data.views import Normalize
from kdbench.errors import KdbenchError, did_you_mean, first_line
from kdbench.records.softening import entropy, soften
from kdbench.records.store import find_results
from kdbench.running.teachers import Teacher, find_teacher
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Data
from kdbench.teacher_names import teacher_name
from kdbench.training.prediction import predict

CPU = torch.device("cpu")
BAR = 30  # characters of a certainty


@dataclass(frozen=True)
class Seen:
    """An image as the suite has images.

    Attributes:
        pixels: (C, H, W) uint8.
        label: its class, where it is known.
    """

    pixels: Tensor
    title: str
    label: int | None = None


def explain(
    image: str,
    temperatures: Sequence[float],
    suite_name: str,
    model: str | None,
    results: Path | None,
    console: Console,
    as_json: bool,
    invert: bool = False,
) -> None:
    """Print the soft targets of one image under a teacher.

    Args:
        image: a picture's file, or the number of a test image of the suite.
        model: the teacher; the suite's first if None.
        invert: the picture is dark on light, and the suite's images are light on dark.

    Raises:
        KdbenchError: an unknown suite, teacher or image, or a teacher that is not trained yet.
    """
    suite = load_suite(suite_name)
    notice = line_printer(console)
    teacher = teacher_of(suite, model, results, line_printer(Console(stderr=True)))
    seen = test_image(suite, int(image), invert) if image.isdecimal() else picture(Path(image), suite.data, invert)
    name = teacher_name(teacher.model, teacher.record.seed)
    batch = Normalize(suite.data, CPU)(seen.pixels[None])
    logits = predict(teacher.load(suite), [batch], CPU, suite.teacher_recipe().precision)[0].numpy()
    about = {"suite": suite.name, "teacher": name, "sha256": teacher.sha256, "image": seen.title}
    if as_json:
        soft = [{"temperature": t, **described(logits, t)} for t in temperatures]
        write_json({**about, "label": seen.label, "logits": logits.tolist(), "soft_targets": soft})
        return
    if suite.data.channels == 1:
        notice(drawn(seen.pixels[0].numpy()))
    known = f", label {seen.label}" if seen.label is not None else ""
    notice(f"{seen.title}{known}; teacher {name} of {suite.name} ({teacher.sha256[:12]})\n")
    print_rows(rows_of(logits, temperatures, seen.label), columns(temperatures, seen.label), console, False)
    notice("")
    for t in temperatures:
        said = described(logits, t)
        top = ", ".join(f"{c} ({p:.3f})" for c, p in said["top"])
        notice(f"T = {t:g}: entropy {said['entropy']:.3f} of at most {np.log(len(logits)):.3f} nats; {top}")


def teacher_of(suite: Suite, model: str | None, results: Path | None, notice: Notice) -> Teacher:
    """A teacher of the suite, wherever it is found.

    Raises:
        KdbenchError: the suite has no such teacher, or it is not trained yet.
    """
    known = suite.teachers_to_choose()
    name = model or known[0]
    if name not in known:
        raise KdbenchError(f"Suite '{suite.name}' has no teacher '{name}' (--model).{did_you_mean(name, known)}")
    found = find_teacher(with_known_content(suite), name, find_results(results), notice)
    if found is None:
        raise KdbenchError(
            f"Teacher '{name}' of suite '{suite.name}' is not trained yet. "
            f"Train it: kdbench teach --suite {suite.name} --model {name}"
        )
    return found


def test_image(suite: Suite, number: int, invert: bool) -> Seen:
    """A test image by its number in canonical order.

    Raises:
        KdbenchError: there is no such number, or the suite's images are files.
    """
    if invert:
        raise KdbenchError("--invert is of pictures of your own; test images are as the teacher knows them.")
    if number >= suite.data.test:
        raise KdbenchError(f"Suite '{suite.name}' has test images 0 to {suite.data.test - 1}, not {number}.")
    dataset = load_dataset(suite.data)
    if not isinstance(dataset, Dataset):
        raise KdbenchError(f"The images of suite '{suite.name}' are files of their own. Name one of them.")
    label = int(dataset.test_labels[number])
    return Seen(dataset.test_images[number], f"test image {number}", label)


def picture(path: Path, data: Data, invert: bool) -> Seen:
    """A picture in the suite's colours and size; the middle of one of another shape.

    Raises:
        KdbenchError: there is no such file, or it is no picture.
    """
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("L" if data.channels == 1 else "RGB")
    except FileNotFoundError as error:
        raise KdbenchError(
            f"{path} is neither a file nor the number of a test image. Name a picture, or write a number from 0."
        ) from error
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise KdbenchError(f"{path} cannot be read as a picture: {first_line(error)}") from error
    height, width = data.image_size
    was = f"{image.width} x {image.height}"
    if (image.width, image.height) != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BOX)
    pixels = np.asarray(ImageOps.invert(image) if invert else image).reshape(height, width, data.channels)
    return Seen(torch.from_numpy(pixels.transpose(2, 0, 1).copy()), f"{path.name} ({was} pixels)")


def described(logits: np.ndarray, temperature: float, top: int = 3) -> dict[str, Any]:
    """Soft targets at a temperature, their entropy, and the first classes."""
    soft = soften(logits, temperature)
    first = np.argsort(-soft, kind="stable")[:top]
    return {
        "probabilities": soft.tolist(),
        "entropy": float(entropy(soft)),
        "top": [(int(c), float(soft[c])) for c in first],
    }


def rows_of(
    logits: np.ndarray, temperatures: Sequence[float], label: int | None, most: int = 20
) -> list[dict[str, Any]]:
    """A row a class; of many classes the first."""
    classes = range(len(logits)) if len(logits) <= most else np.argsort(-logits, kind="stable")[:most].tolist()
    soft = {t: soften(logits, t) for t in temperatures}
    return [
        {
            "class": c,
            "logit": f"{logits[c]:.2f}",
            **({"hard target": int(c == label)} if label is not None else {}),
            **{f"T = {t:g}": f"{p[c]:.4f}" for t, p in soft.items()},
            f"at T = {temperatures[-1]:g}": "█" * round(BAR * float(soft[temperatures[-1]][c])),
        }
        for c in classes
    ]


def columns(temperatures: Sequence[float], label: int | None) -> list[str]:
    hard = ["hard target"] if label is not None else []
    return ["class", "logit", *hard, *(f"T = {t:g}" for t in temperatures), f"at T = {temperatures[-1]:g}"]


def drawn(pixels: np.ndarray) -> str:
    """(H, W) grey values as characters, two a pixel; a large image at a quarter of a screen's width."""
    step = max(1, -(-max(pixels.shape) // 32))
    shades = np.array(list(" ░▒▓█"))[pixels[::step, ::step].astype(int) * 5 // 256]
    return "\n".join("".join(np.repeat(row, 2)).rstrip() for row in shades)
