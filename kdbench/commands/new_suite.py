"""`kdbench new --suite PATH`: a look at images of one's own, and a suite for them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from string import Template

from rich.console import Console
from rich.progress import Progress, TextColumn

from kdbench.console import line_printer
from kdbench.data.sources import OnRows
from kdbench.data.survey import Survey, mean_and_deviation, survey_folder
from kdbench.errors import KdbenchError, writing
from kdbench.files import write_atomically
from kdbench.suites import list_suites, load_suite
from kdbench.tables import SMALL

TEMPLATE = Path(__file__).parents[1] / "template"
TEST_PART, VALIDATION_PART = 0.2, 0.1
STEPS = 3000  # of a student's training, about
LARGE = 224
SHOWN = 10  # of what was skipped, in the terminal; the file has all


def write_suite(place: str, config: str | None, size: int | None, out: Path | None, console: Console) -> None:
    """Look at the images, write the file, and say what was skipped and what to do next.

    Args:
        place: a folder, a Parquet file, or a data set of the hub, "owner/name".
        size: height and width to propose.

    Raises:
        KdbenchError: nothing that a suite can be made of, or a file that is there already.
    """
    with looking(console) as on_rows:
        survey = look_at(place, config, on_rows)
    name = suite_name(Path(place.rstrip("/")).name)
    path = out or Path(f"{name}.toml")
    if path.exists():
        raise KdbenchError(f"{path} is there already. Choose another file (--out), or remove it.")
    with writing(path):
        write_atomically(path, text_of(survey, proposal(survey, size), name).encode())
    load_suite(str(path))
    notice = line_printer(console)
    notice(summary(survey, path))
    data_dir = f" --data-dir {shlex.quote(str(survey.data_dir))}" if survey.data_dir else ""
    notice(f"Next:\n\n    kdbench run --method kd --suite {path}{data_dir}\n")
    notice(f"What is proposed, and how to bring your own teacher, is said in {path}.")


def look_at(place: str, config: str | None, on_rows: OnRows) -> Survey:
    """The images of a folder, of Parquet files or of the hub.

    Raises:
        KdbenchError: there is nothing of that name, or nothing that a suite can be made of.
    """
    from kdbench.data.survey_tables import survey_hub, survey_parquet

    path = Path(place).expanduser()
    if config is not None and path.exists():
        raise KdbenchError("--config is of data sets of the hub. Leave it out.")
    if path.is_file() or (path.is_dir() and any(path.rglob("*.parquet"))):
        return survey_parquet(path, on_rows)
    if path.is_dir():
        return survey_folder(path, on_rows)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", place):
        return survey_hub(place, config, on_rows)
    raise KdbenchError(
        f"No folder or file {place} (--suite). Name a folder of images, a Parquet file, or a data set of the hub."
    )


@contextmanager
def looking(console: Console) -> Iterator[OnRows]:
    """A count of the images that were looked at."""
    columns = (TextColumn("looking at images: {task.completed}"),)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda rows: progress.update(task, completed=rows)


def suite_name(name: str) -> str:
    """A suite's name after its images'."""
    found = re.sub(r"[^a-z0-9_.-]+", "-", name.lower().removesuffix(".parquet")).strip("-.") or "images"
    return f"my-{found}" if found in list_suites() else found


@dataclass(frozen=True)
class Proposal:
    """What a suite for some images may be.

    Attributes:
        size: height and width.
        is_large: whether images are read from files in each epoch.
        resize: whether they are scaled to the size once.
        train, test, validation: numbers of images.
    """

    size: tuple[int, int]
    is_large: bool
    resize: bool
    channels: int
    mean: list[float]
    std: list[float]
    train: int
    test: int
    validation: int
    batch_size: int
    epochs: int
    learning_rate: float
    teacher: str
    student: str


def proposal(survey: Survey, size: int | None) -> Proposal:
    """What is proposed for some images.

    Raises:
        KdbenchError: too few images.
    """
    is_folder = survey.source.startswith("imagefolder/")
    image_size = (size, size) if size else proposed_size(survey, is_folder)
    is_large = is_folder and max(image_size) > SMALL
    total, classes = survey.images, len(survey.classes)
    if len(survey.parts) == 2:
        train, test = (sum(part.values()) for part in survey.parts)
    else:
        test = max(classes, round(total * TEST_PART))
        train = total - test
    validation = max(classes, round(train * VALIDATION_PART))
    if train - validation < 2 * classes or test < 1:
        raise KdbenchError(
            f"{total} images of {classes} classes are too few to train on, validate with and test on. Add some."
        )
    channels = 1 if survey.grey else 3
    mean, std = mean_and_deviation(survey.sample(), image_size, channels)
    wanted = next((b for b in (64, 32, 16) if b * 16 <= train), 8)
    batch = next(b for b in range(wanted, 1, -1) if all(rows % b != 1 for rows in (train, train - validation)))
    teacher, student = networks(max(image_size))
    return Proposal(
        size=image_size,
        is_large=is_large,
        resize=set(survey.sizes) != {image_size} and not is_large,
        channels=channels,
        mean=mean,
        std=std,
        train=train,
        test=test,
        validation=validation,
        batch_size=batch,
        epochs=min(100, max(10, round(STEPS * batch / train))),
        learning_rate=round(0.05 * batch / 64, 4),
        teacher=teacher,
        student=student,
    )


def proposed_size(survey: Survey, is_folder: bool) -> tuple[int, int]:
    """The images' own size where they are small and alike, else a square of what most of them have."""
    [common, *others] = set(survey.sizes)
    if not others and max(common) <= SMALL:
        return common
    short = median(min(size) for size in survey.sizes)
    if short <= SMALL:
        side = max(8, int(short) // 4 * 4)
    else:
        side = min(LARGE, int(short) // 32 * 32) if is_folder and has_gpu() else SMALL
    return side, side


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def networks(side: int) -> tuple[str, str]:
    """A teacher and a student for images of this size, by timm's names."""
    if side < 16:
        return "digits_resnet8", "digits_resnet8_w4"
    return ("resnet34", "resnet18") if side > SMALL else ("cifar_resnet20", "cifar_resnet8")


def text_of(survey: Survey, p: Proposal, name: str) -> str:
    """The suite's file."""
    counts = " and ".join(f"{sum(part.values()):,}" for part in survey.parts)
    sides = [side for size in survey.sizes for side in size]
    given = [f"{key} = {toml(value)}" for key, value in survey.given.items()]
    if survey.excluded:
        lines = [f"    {toml(pattern)},  # {one_line(why)}" for pattern, why in survey.excluded.items()]
        given.append("\n".join(["exclude = [  # what a look at the images found to be of no use", *lines, "]"]))
    if p.is_large:
        views = ["# Read from files in each epoch, as random crops of 8 to 100 % of their area: for a GPU."]
    else:
        crop = f"crop_padding = {max(p.size) // 8}  # crops of the image in a frame of so many pixels"
        scaled = 'resize = "box"  # images are scaled until they cover image_size, and what is over is cut'
        views = [scaled, crop] if p.resize else [crop]
    shown = {"name": toml(name), "title": toml(f"{name}: {len(survey.classes)} classes"), "counts": counts}
    numbers = {"least": min(sides), "most": max(sides), "classes": one_line(", ".join(survey.classes))[:400]}
    where = one_line(f" --data-dir {shlex.quote(str(survey.data_dir))}") if survey.data_dir else ""
    return Template((TEMPLATE / "suite.toml.template").read_text("utf-8")).substitute(
        **shown,
        **numbers,
        where=where,
        source=toml(survey.source),
        given="\n".join(given),
        num_classes=len(survey.classes),
        views="\n".join(views),
        size=list(p.size),
        channels=p.channels,
        train=p.train,
        test=p.test,
        validation=p.validation,
        mean=p.mean,
        std=p.std,
        epochs=p.epochs,
        batch=p.batch_size,
        rate=p.learning_rate,
        teacher=toml(p.teacher),
        student=toml(p.student),
    )


def toml(value: object) -> str:
    """A string, number or list as TOML has it; what is no character becomes the wildcard "?"."""
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return text.encode("utf-8", "replace").decode()


def one_line(text: str) -> str:
    """A text for a comment, whatever a file is called."""
    return "".join(c if c.isprintable() else "?" for c in text)


def summary(survey: Survey, path: Path) -> str:
    """What was found, what was skipped and why."""
    parts = [sum(part.values()) for part in survey.parts]
    split = f"{parts[0]} to train on, {parts[1]} to test on" if len(parts) == 2 else "split by a seed"
    lines = [f"Wrote {path}: {survey.images} images of {len(survey.classes)} classes, {split}."]
    lines += survey.notes
    if survey.excluded:
        lines.append(f"Skipped, by data.exclude in {path}:")
        lines += [f"    {one_line(pattern)}: {one_line(why)}" for pattern, why in list(survey.excluded.items())[:SHOWN]]
        more = len(survey.excluded) - SHOWN
        lines += [f"    and {more} more"] if more > 0 else []
    if lacking := [name for name in survey.classes if len(survey.parts) == 2 and not survey.parts[1][name]]:
        lines.append(f"Without a test image: {', '.join(lacking[:SHOWN])}.")
    counts = [sum(part[name] for part in survey.parts) for name in survey.classes]
    if max(counts) > 10 * min(counts):
        lines.append(f"Classes have {min(counts)} to {max(counts)} images: top-1 says little of the small ones.")
    return "\n".join(lines)
