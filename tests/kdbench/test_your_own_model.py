"""The commands of docs/your-own-model.md work, with images and a teacher that kdbench has not seen."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdbench.suites import load_suite

GUIDE = Path(__file__).parents[2] / "docs" / "your-own-model.md"
Command = Callable[..., subprocess.CompletedProcess[str]]
CLASSES = ["ash", "elm", "oak"]


def blocks(kind: str) -> list[str]:
    """The guide's code of a kind."""
    return re.findall(rf"```{kind}\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)


def commands() -> list[list[str]]:
    return [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photographs whose classes differ in colour, of several sizes, and some files that are none."""
    random = np.random.default_rng(0)
    for split, count in (("train", 40), ("val", 12)):
        for label, name in enumerate(CLASSES):
            place = tmp_path / "photos" / split / name
            place.mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 120, (40 + i % 3, 44, 3))
                pixels[..., label] += 90
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{i}.jpg", quality=95)
    broken = tmp_path / "photos" / "train" / "oak" / "7.jpg"
    broken.write_bytes(broken.read_bytes()[:-400])
    (tmp_path / "photos" / "val" / "oak" / "notes.txt").write_text("a walk in May")
    return tmp_path / "photos"


def merged(suite: str, changes: str) -> str:
    """A suite's text with the guide's networks and weights."""
    models, weights = changes.split("[weights]")
    for line in models.splitlines()[1:]:
        if "=" in line:
            suite = re.sub(rf"(?m)^{line.split()[0]} = {{ name.*$", line, suite)
    return f"{suite}\n[weights]{weights}"


def test_the_guides_commands_work_one_after_the_other(photos: Path, tmp_path: Path, here: Command) -> None:
    new, train, teach, run, verify, new_model = commands()
    [(name, script)] = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    changes, entry_point = blocks("toml")

    written = here(*new[1:])
    assert written.returncode == 0, written.stderr
    assert "train/oak/7.jpg: image file is truncated" in written.stdout
    assert "*.txt: no suffix of images that kdbench reads" in written.stdout
    broken = photos / "train" / "oak" / "7.jpg"
    broken.unlink()  # which the guide's script would stop at
    text = (tmp_path / "photos.toml").read_text()

    (tmp_path / name).write_text(script)
    trained = subprocess.run(
        [sys.executable, *train[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert trained.returncode == 0, trained.stderr
    (tmp_path / "photos.toml").write_text(merged(text, changes))
    assert load_suite(str(tmp_path / "photos.toml")).models["large"].name == "resnet10t"

    taught = here(*teach[1:])
    assert taught.returncode == 0, taught.stderr
    accuracy = float(re.findall(r"large: ([\d.]+) % top-1, loaded, evaluated and kept", taught.stdout)[0])
    assert accuracy > 60  # a third is chance: size, normalisation and classes are those of the script

    done = here(*run[1:])
    assert done.returncode == 0, done.stderr
    assert "Teacher large: weights of its own, " in done.stdout
    [record] = [json.loads(path.read_text()) for path in tmp_path.glob("runs/photos/kd/*/record.json")]
    assert [teacher["origin"] for teacher in record["teachers"]] == ["weights of its own"]
    assert "teacher.pth" not in json.dumps(record)

    verified = here(*(word.replace("KEY", record["key"][:16]) for word in verify[1:]))
    assert verified.returncode == 0, verified.stderr
    assert "Off protocol, not for the board: epochs: 2 instead of 100" in verified.stdout
    assert "Level 1 holds" in verified.stdout

    made = here(*new_model[1:])
    assert made.returncode == 0, made.stderr
    assert entry_point in (tmp_path / "kdbench-tiny-net" / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    "arguments", [("new",), ("new", "name", "--suite", "photos"), ("new", "name", "--size", "32"), ("new", "--model")]
)
def test_new_says_what_it_takes(arguments: tuple[str, ...], here: Command) -> None:
    done = here(*arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
