"""Which trainings are served from a store of their teacher's outputs, and from which one."""

from __future__ import annotations

import platform
from typing import Any

import timm
import torch

from kdbench.console import Notice
from kdbench.data.contract import Inputs
from kdbench.hashing import digest
from kdbench.method import Method
from kdbench.networks.outputs import OutputReader
from kdbench.running.plan import Cell
from kdbench.training.prediction import autocast
from kdbench.training.row_store import open_stores
from kdbench.training.stored_outputs import StoredOutputs, filled_in, packed_type

KEPT = {"teacher.logits", "teacher.embedding"}


def can_be_served(cls: type[Method]) -> bool:
    """Whether a method reads no more than logits and embedding of its one teacher, of images as the trainer has them.

    What it asks the teacher itself, through `setup.read_teacher`, is live always.
    """
    asked = {output for output in cls.requires if output.startswith("teacher.")}
    return (
        bool(asked)
        and asked <= KEPT
        and "team" not in cls.requires
        and cls.inputs is Method.inputs
        and not cls.is_data_free()
    )


def stored_outputs(
    cell: Cell, cls: type[Method], reader: OutputReader, images: Inputs, device: torch.device, notice: Notice
) -> StoredOutputs | None:
    """The store of a cell's teacher, on the device of its training; None where the teacher has to be live.

    Raises:
        KdbenchError: the store cannot be written.
    """
    teacher, data, recipe = cell.teacher, cell.data, cell.recipe
    if teacher is None or data.sha256 is None or not (images.can_cut and can_be_served(cls)):
        return None
    about = {
        "teacher": teacher.sha256,
        "model": cell.suite.models[teacher.model].identity,
        "data": data.model_dump(mode="json"),
        "precision": recipe.precision,
        "batch": filled_in(recipe.batch_size, device),
        "computer": platform.node(),  # others that share a folder by network see late what this one writes
        **hardware(device),
    }
    names = {what: f"{teacher.model}-{what}-{digest(about)[:16]}" for what in sorted(reader.wanted)}
    example = torch.randn(2, data.channels, *data.image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), autocast(device, recipe.precision):
        outputs = reader(example.to(device))
    shown = {what: getattr(outputs, what) for what in names}
    wanted = {names[what]: (values.shape[1], packed_type(values)) for what, values in shown.items()}
    said = f"Outputs of teacher {teacher.model} ({', '.join(names)})"
    stores = open_stores(wanted, data.learned_from * data.num_views, said, notice)
    if stores is None:
        return None
    by_output = {what: stores[name] for what, name in names.items()}
    batch_size, precision = recipe.batch_size, recipe.precision
    return StoredOutputs(reader, by_output, images, data.learned_from, data.num_views, batch_size, precision, device)


def hardware(device: torch.device) -> dict[str, Any]:
    """What numbers are computed with, which differ in their last bits elsewhere."""
    return {
        "device": device.type,
        "hardware": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_kernels(),
        "software": [torch.__version__, timm.__version__],
    }


def cpu_kernels() -> str:
    """Which kernels PyTorch chooses on this processor."""
    return torch.backends.cpu.get_cpu_capability()
