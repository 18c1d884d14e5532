"""`kdbench export RECORD`: a student to take home, that runs without kdbench and says what its record says."""

from __future__ import annotations

import json
import logging
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from rich.console import Console
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from kdbench.commands.exported import LOADER, MODEL_CARD
from kdbench.commands.own_suites import suite_of
from kdbench.console import Notice, line_printer, write_json
from kdbench.data.access import load_dataset, with_content
from kdbench.errors import KdbenchError, first_line, writing
from kdbench.files import exchange, restore, sync
from kdbench.hashing import file_sha256
from kdbench.networks.build import build_network
from kdbench.networks.inputs import as_seen
from kdbench.records.classes import read_classes
from kdbench.records.store import CELL_FOLDER, Entry, evidence_of, read_cell, weights_name
from kdbench.suite import Suite
from kdbench.tables import Data

TOLERANCE = 1e-3  # of a logit, between PyTorch and another runtime
ROUNDS = 30
TIES = 0.002  # of the test images may fall to another class by rounding alone


class Student(nn.Module):
    """A network with all that stands before it: pixels (B, C, H, W) in 0 to 1, to logits (B, classes)."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, data: Data) -> None:
        super().__init__()
        self.network = network
        for name, values in (("mean", data.mean), ("std", data.std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.network(as_seen(self.network, (pixels - self.mean) / self.std))
        return logits


def export(
    text: str, out: Path | None, onnx: bool, suite_name: str | None, force: bool, console: Console, as_json: bool
) -> int:
    """Write a student's weights, a program that needs torch alone, its description and a loader; returns the exit code.

    Raises:
        KdbenchError: no such record, no weights beside it, or a network that its method makes.
    """
    notice = line_printer(console)
    entry = find_entry(Path(text))
    record = entry.record
    suite = suite_of(record.suite, suite_name, entry.folder.parents[2]).bound_to(record.protocol)
    out = out or Path(f"{record.student}-{record.method.name}")
    restore(out, out.with_name(f".{out.name}.kdbench-old"))
    check_place(out, force)
    student = Student(load_student(entry, suite), suite.data).eval()
    partial, old = (out.with_name(f".{out.name}.kdbench-{kind}") for kind in ("new", "old"))
    try:
        with writing(out):
            about, checked = write_folder(partial, student, entry, suite, onnx, notice)
            exchange(partial, out, old)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if as_json:
        write_json({"folder": str(out), **about})
    notice(f"Written: {out}, {', '.join(sorted(about['bytes']))}. {checked}")
    notice(f"{about['latency_ms']:.2f} ms an image on one thread here. Try: python {out / 'load.py'} IMAGE")
    return 0


def write_folder(
    folder: Path, student: Student, entry: Entry, suite: Suite, onnx: bool, notice: Notice
) -> tuple[dict[str, Any], str]:
    """All files of an export; returns what `model.json` says, and what was checked."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pixels = torch.rand(2, suite.data.channels, *suite.data.image_size, generator=torch.Generator().manual_seed(0))
    shutil.copyfile(weights_of(entry), folder / "model.safetensors")
    torch.save(student.network.state_dict(), folder / "model.pth")
    runtimes = {"model.pt2": write_program(student, pixels, folder / "model.pt2")}
    if onnx:
        runtimes["model.onnx"] = write_onnx(student, pixels, folder / "model.onnx")
    checked = check(student, runtimes, pixels, entry, suite, notice)
    about = describe(entry, suite, checked, latency(runtimes["model.pt2"], pixels[:1]), folder)
    (folder / "model.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    (folder / "load.py").write_text(LOADER, encoding="utf-8")
    (folder / "README.md").write_text(MODEL_CARD.format(**about), encoding="utf-8")
    for path in folder.iterdir():
        sync(path)
    return about, checked


def check_place(out: Path, force: bool) -> None:
    """Only an earlier export is replaced, and only when asked to.

    Raises:
        KdbenchError: something else is there.
    """
    if not out.exists():
        return
    if not (out / "model.json").is_file():
        raise KdbenchError(f"{out} exists and is no earlier export. Name another folder with --out.")
    if not force:
        raise KdbenchError(f"{out} exists already. Name another folder with --out, or replace it with --force.")


def find_entry(folder: Path) -> Entry:
    """A cell of `runs/` that has a student.

    Raises:
        KdbenchError: no such folder, a record that is corrupt, or of a cell that is not applicable.
    """
    if not CELL_FOLDER.fullmatch(folder.name) or not folder.is_dir():
        raise KdbenchError(
            f"'{folder}' is no folder of a trained cell. Name one as runs/SUITE/METHOD/KEY; accepted records have no "
            "weights, but 'kdbench run' trains them again."
        )
    entry = read_cell(folder)
    if entry.evidence is None:
        raise KdbenchError(f"'{folder}' is not applicable to its pair: {entry.record.reason}. It has no student.")
    return entry


def weights_of(entry: Entry) -> Path:
    """The weights file beside a record, by the hash in its name.

    Raises:
        KdbenchError: there is none, or it is damaged.
    """
    found = sorted(entry.folder.glob(weights_name(entry.record.student, "?" * 12)))
    if not found:
        raise KdbenchError(f"There are no weights of '{entry.record.student}' in {entry.folder}. Train the cell again.")
    sha256 = file_sha256(found[0])
    if found[0].name != weights_name(entry.record.student, sha256):
        raise KdbenchError(f"{found[0]} is corrupt: its content does not match its name. Train the cell again.")
    return found[0]


def load_student(entry: Entry, suite: Suite) -> nn.Module:
    """The suite's student with the record's weights.

    Raises:
        KdbenchError: the weights are of another network, one that the method makes of the student.
    """
    record = entry.record
    network = build_network(suite, record.student, seed=0)
    try:
        network.load_state_dict(load_file(weights_of(entry)))
    except (RuntimeError, SafetensorError) as error:
        raise KdbenchError(
            f"The weights in {entry.folder} are not those of '{record.main.timm_name}' alone: '{record.method.name}' "
            f"deploys a network of its own. They are in {weights_of(entry).name}."
        ) from error
    return network.eval()


Runtime = Callable[[Tensor], Tensor]


def write_program(student: Student, pixels: Tensor, path: Path) -> Runtime:
    """A program of torch.export for any batch size, read back.

    Raises:
        KdbenchError: PyTorch cannot write the network down.
    """
    batch = torch.export.Dim("batch", min=1, max=4096)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(student, (pixels,), dynamic_shapes=({0: batch},))
            torch.export.save(program, path)
            module = torch.export.load(path).module()
    except Exception as error:  # of any of torch.export's stages
        raise KdbenchError(f"torch.export cannot write this network: {first_line(error)}.") from error
    return module


def write_onnx(student: Student, pixels: Tensor, path: Path) -> Runtime:
    """The same as ONNX, run by onnxruntime.

    Raises:
        KdbenchError: the extra is not installed, or the network has no form in ONNX.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise KdbenchError(f"--onnx needs {error.name}. Install it: pip install 'kdbench[onnx]'.") from error
    batch = torch.export.Dim("batch", min=1, max=4096)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                student,
                (pixels,),
                path,
                dynamo=True,
                input_names=["pixels"],
                output_names=["logits"],
                dynamic_shapes=({0: batch},),
                external_data=False,
                verbose=False,
            )
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise KdbenchError(f"ONNX cannot express this network: {first_line(error)}.") from error
    return lambda images: torch.from_numpy(session.run(None, {"pixels": images.numpy()})[0])


@torch.no_grad()
def check(
    student: Student, runtimes: dict[str, Runtime], pixels: Tensor, entry: Entry, suite: Suite, notice: Notice
) -> str:
    """Each form gives the student's logits, and on the test images, where these are here, the record's predictions.

    Raises:
        KdbenchError: one does not.
    """
    expected = student(pixels)
    for name, runtime in runtimes.items():
        off = (runtime(pixels) - expected).abs().max().item()
        if not off <= TOLERANCE:
            raise KdbenchError(f"{name} gives other logits than the student: by up to {off:.2g}. Nothing is written.")
    try:
        dataset = load_dataset(with_content(suite).data)
    except KdbenchError as error:
        notice(f"The test images are not here: {error}")
        return "Its forms agree; they were not checked on test images."
    data, recorded = suite.data, evidence_of(entry).predicted
    batches = list(dataset.inputs(data, suite.recipe.batch_size, torch.device("cpu")).test())
    mean, std = student.mean, student.std
    for name, runtime in runtimes.items():
        found = torch.cat([runtime((images * std + mean).contiguous()).argmax(1) for images in batches]).numpy()
        other = float(np.mean(found != recorded)) if len(found) == len(recorded) else 1.0
        if other > TIES:
            raise KdbenchError(f"{name} says other classes than the record on {other:.1%} of the test images.")
    return f"Checked: the record's classes on {len(recorded):,} test images."


@torch.no_grad()
def latency(runtime: Runtime, image: Tensor) -> float:
    """Milliseconds of one image on one thread, the median of several runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = []
        for _ in range(ROUNDS + 3):
            start = time.perf_counter()
            runtime(image)
            times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return 1000 * float(np.median(times[3:]))


def describe(entry: Entry, suite: Suite, checked: str, milliseconds: float, folder: Path) -> dict[str, Any]:
    """What is in the folder, for a program."""
    record, data = entry.record, suite.data
    own = not timm.model_entrypoint(record.main.timm_name).__module__.startswith("timm.")
    arguments = {"num_classes": data.num_classes, "in_chans": data.channels, **record.main.arguments}
    return {
        "name": f"{record.student} under {record.method.name}",
        "timm": None if own else {"name": record.main.timm_name, "arguments": arguments},
        "architecture": record.main.timm_name,
        "input": {
            "channels": data.channels,
            "height": data.image_size[0],
            "width": data.image_size[1],
            "range": [0.0, 1.0],
            "mean": list(data.mean),
            "std": list(data.std),
        },
        "classes": data.num_classes,
        "class_names": classes.names if (classes := read_classes(entry.folder, record)) else None,
        "suite": record.suite,
        "method": record.row,
        "teacher": record.teacher,
        "seed": record.seed,
        "top1": record.main.metrics.top1,
        "parameters": record.main.parameters,
        "macs": record.main.macs,
        "latency_ms": round(milliseconds, 3),
        "checked": checked,
        "key": record.key,
        "off_protocol": record.off_protocol,
        "bytes": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
    }
