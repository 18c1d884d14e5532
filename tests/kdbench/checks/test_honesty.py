"""Checks of what a method reads and touches catch the methods that they are for."""

from __future__ import annotations

import dataclasses
import gc
import inspect
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from kdbench import Batch, Method, Outputs, Read, Setup
from kdbench.checks import run_check
from kdbench.checks.bench import CheckFailed
from kdbench.data.access import load_dataset
from kdbench.foreign import Package, watching_method
from kdbench.suites import SUITES, load_suite
from tests.kdbench.checks.good import Good, assert_caught, each


class PeeksAtTheTestSet(Good):
    """Looks for the trainer's test images up the stack."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        import sys

        frame = sys._getframe()
        while frame and "dataset" not in frame.f_locals:
            frame = frame.f_back  # type: ignore[assignment]
        images = frame.f_locals["dataset"].test_images
        self.register_buffer("peeked", images.float().mean())

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(self.peeked * student.logits.mean(), batch, student, teacher)


class LoadsTheDataItself(Good):
    """Reads the data set from its file."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.register_buffer("peeked", torch.tensor(load_digits().target[:7]))


class RequiresTooLittle(Good):
    """Reads an output that it does not name."""

    requires = Good.requires - {"teacher.logits"}


class BuildsFromATeacherItDoesNotRead(Good):
    """Makes a layer as wide as the teacher's embedding, and names no output of the teacher."""

    requires = frozenset({"student.logits", "student.embedding"})

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {"ce": F.cross_entropy(student.logits, batch.labels), "gap": self.embed(student.embedding).mean()}


class RequiresTooMuch(Good):
    """Names an output that it does not read."""

    requires = Good.requires | {"teacher.features", "student.features"}


class ChangesLogitsInPlace(Good):
    """Divides the teacher's logits in place."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        teacher.logits.div_(4)
        return super().loss(batch, student, teacher)


class ChangesLabelsInPlace(Good):
    """Rolls the labels in place."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        batch.labels.copy_(batch.labels.roll(1))
        return super().loss(batch, student, teacher)


class PeeksAtImages(Good):
    """Calls itself data-free and asks for training images."""

    families = ("data_free",)
    deviations = ("images are synthetic",)
    requires = frozenset({"student.logits", "teacher.logits", "images"})

    def build(self, setup: Setup) -> None:
        self.images = setup.images

    def inputs(self, batch: Batch) -> Batch:
        return dataclasses.replace(batch, images=self.images(torch.arange(8), torch.zeros(8, dtype=torch.int64)))

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {"gap": self.params.gap_weight * F.mse_loss(student.logits, teacher.logits)}


HERE = Path(__file__)
SUITE = SUITES / "digits.toml"  # a file of neither its package nor Python's code


def in_build(open_it: Callable[[], object]) -> type[Method]:
    """A method that opens something in build."""

    class Opens(Good):
        """Opens something in build."""

        def build(self, setup: Setup) -> None:
            super().build(setup)
            open_it()

    return Opens


def by_bytes() -> None:
    with pytest.raises(ValueError, match="pickle"):
        np.load(os.fsencode(SUITE))


def by_thread() -> None:
    thread = threading.Thread(target=Path.read_bytes, args=(SUITE,))
    thread.start()
    thread.join()


def by_socket() -> None:
    with socket.socket(socket.AF_UNIX) as there:
        there.connect_ex("/nowhere")


def by_loader() -> None:
    safetensors.torch.load_file(next(SUITES.glob("*/teachers/*.safetensors")))


def by_descriptor() -> None:
    descriptor = os.open(SUITE, os.O_RDONLY)
    os.close(descriptor)


def by_link() -> None:
    with tempfile.TemporaryDirectory(dir=HERE.parent) as folder:
        (link := Path(folder) / "mine.toml").symlink_to(SUITE)
        link.read_text()


def by_the_stack() -> None:
    assert sys._getframe(3).f_locals


def by_a_traceback() -> None:
    try:
        raise ValueError
    except ValueError as error:
        frame = error.__traceback__.tb_frame.f_back  # type: ignore[union-attr]
        len(frame.f_locals)  # type: ignore[union-attr]


def a_json_file() -> Path:
    """A .json file that lies among the installed packages."""
    return next(path for path in Path(np.__file__).parents[1].rglob("*.json") if ".dist-info" not in str(path))


OPENINGS: dict[str, tuple[Callable[[], object], str]] = {
    "a path in bytes": (by_bytes, f"its code opens {SUITE}"),
    "a thread": (by_thread, f"its code opens {SUITE}"),
    "a descriptor": (by_descriptor, f"its code opens {SUITE}"),
    "a link in its own package": (by_link, f"its code opens {SUITE}"),
    "a file below /proc": (lambda: Path("/proc/self/environ").read_bytes(), "its code opens /proc/"),
    "memory of the process": (lambda: Path("/proc/self/mem").open("rb").close(), "/mem"),
    "a .json of another package": (lambda: a_json_file().read_bytes(), ".json"),
    "numpy": (lambda: np.fromfile(SUITE, np.uint8), f"its code opens {SUITE}"),
    "a loader in C": (by_loader, ".safetensors"),
    "torch": (lambda: torch.from_file(str(SUITE), size=4), f"its code opens {SUITE}"),
    "a process": (lambda: subprocess.run(["true"], check=True), "its code starts a process"),
    "a shell": (lambda: os.system("true"), "its code starts a process"),
    "a fork": (lambda: os.waitpid(os.fork() or os._exit(0), 0), "its code starts a process"),
    "the network": (by_socket, "opens a network connection"),
    "a database": (lambda: sqlite3.connect(":memory:").close(), "a database"),
    "the harness's loader": (lambda: load_dataset(load_suite("digits").data), "loads a data set of the suites"),
    "all objects": (lambda: len(gc.get_objects()), "looks into the harness (gc.get_objects)"),
    "who refers to it": (lambda: gc.get_referrers(HERE), "looks into the harness (gc.get_referrers)"),
    "the stack": (by_the_stack, "looks into the harness (its frames)"),
    "inspect": (lambda: inspect.stack()[2].frame.f_locals, "looks into the harness (its frames)"),
    "a traceback": (by_a_traceback, "looks into the harness (its frames)"),
    "a file that it writes": (lambda: Path(tempfile.gettempdir(), "cache").write_text("1"), "its code writes "),
}


@pytest.mark.parametrize("way", OPENINGS)
def test_whatever_way_a_method_goes_to_what_it_was_not_given_is_seen(way: str) -> None:
    open_it, said = OPENINGS[way]
    with watching_method(Good) as watching:
        open_it()
    assert any(said.removeprefix("its code ") in stray for stray in watching.seen.strays), watching.seen


def test_a_file_of_its_own_package_is_noted_by_its_hash_and_no_stray() -> None:
    def build() -> None:
        HERE.with_name("good.py").read_text()  # code, which its source's hash covers
        (HERE.parents[1] / "networks" / "authors_names.json").read_text()

    with watching_method(Good) as watching:
        build()
    [(name, sha256)] = watching.seen.files.items()
    assert (name, len(sha256)) == ("kdbench/networks/authors_names.json", 64)
    assert watching.seen.strays == []


def test_packages_installed_in_a_checkout_are_not_its_code(install_plugin: Callable[..., Path]) -> None:
    site = install_plugin("theirs", {"mine": "mine_method:Mine"}, mine_method="")
    package = Package.of("mine_method")
    assert package is not None
    assert package.runs(str(site / "mine_method.py"))
    assert package.runs(str(site / "tools" / "helper.py"))
    assert not package.runs(str(site / ".venv" / "lib" / "site-packages" / "numpy" / "core.py"))
    assert package.holds(str(site / "words.csv"))
    assert not package.holds(str(site / "runs" / "digits" / "words.csv"))


def test_what_is_opened_at_import_is_seen(install_plugin: Callable[..., Path]) -> None:
    source = "from sklearn.datasets import load_digits\nfrom tests.kdbench.checks.good import Good\n\n"
    source += "DATA = load_digits()\n\nclass Early(Good):\n    'Reads the data while it is imported.'\n\n"
    source += "    name = 'early'\n"
    install_plugin("theirs", {"early": "early_bird:Early"}, early_bird=source)
    with pytest.raises(CheckFailed, match=r"at import its code opens .*digits\.csv\.gz"):
        run_check("early", "sees_no_test_data")


class ChoosesAnEpoch(Good):
    """Remembers in evaluation what it is shown there."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.register_buffer("seen", torch.zeros(1))

    def deployed(self, student: nn.Module, read: Read) -> nn.Module:
        return Remembering(student, self.seen)


class Remembering(nn.Module):
    """Adds up the images that it is evaluated on."""

    def __init__(self, student: nn.Module, seen: Tensor) -> None:
        super().__init__()
        self.student, self.seen = student, seen

    def forward(self, images: Tensor) -> Tensor:
        self.seen += images.sum()
        return self.student(images)


BROKEN = [
    (ChoosesAnEpoch, "sees_no_test_data", "must not reach for it"),
    (in_build(by_descriptor), "sees_no_test_data", f"its code opens {SUITE}"),
    (PeeksAtImages, "sees_no_data_if_it_is_free_of_them", "has its images from itself alone"),
    (PeeksAtImages, "says_what_it_is", "data-free and requires 'images'"),
    (PeeksAtTheTestSet, "sees_no_test_data", "its code looks into the harness (its frames)"),
    (LoadsTheDataItself, "sees_no_test_data", "digits.csv.gz: a method has its data from the batch"),
    (RequiresTooLittle, "reads_what_it_requires", "add 'teacher.logits' to `requires`"),
    (BuildsFromATeacherItDoesNotRead, "reads_what_it_requires", "add 'teacher.embedding' to `requires`"),
    (RequiresTooMuch, "reads_what_it_requires", "'student.features', which is never read: remove it"),
    (ChangesLogitsInPlace, "leaves_its_inputs_alone", "teacher.logits is changed in place"),
    (ChangesLabelsInPlace, "leaves_its_inputs_alone", "batch.labels is changed in place"),
]


@each(BROKEN)
def test_a_broken_method_is_caught_with_advice(cls: type[Method], check: str, advice: str) -> None:
    assert_caught(cls, check, advice)
