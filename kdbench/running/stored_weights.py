"""Weights that a cell left in its folder, in the suite's own student."""

from __future__ import annotations

import torch

from kdbench.data.access import load_dataset
from kdbench.errors import KdbenchError
from kdbench.networks.build import build_network, count_macs, count_parameters
from kdbench.records.store import Entry
from kdbench.suite import Suite
from kdbench.training.checkpoint import load_tensors
from kdbench.training.prediction import predict

LEAST_AGREEMENT = 99.0  # percent of test images, on another processor or with other libraries


def weights_problem(entry: Entry, suite: Suite) -> str | None:
    """Why a record's network is not the suite's student, or does not answer as its evidence says; None if all holds.

    A network that the trainer declared to be another is not looked at, nor are weights that are not kept.
    """
    record = entry.record
    if record.is_teacher or record.status != "done" or entry.evidence is None or record.main.differs:
        return None
    network = build_network(suite, record.student, seed=0).eval()
    example = torch.zeros(1, suite.data.channels, *suite.data.image_size)
    sizes = count_parameters(network), count_macs(network, example)
    if (record.main.parameters, record.main.macs) != sizes:
        return (
            f"its network has {record.main.parameters:,} parameters and {record.main.macs:,} multiply-accumulates, the "
            f"suite's student {sizes[0]:,} and {sizes[1]:,}"
        )
    files = sorted(entry.folder.glob(f"{record.student}-*.safetensors"))
    if not files or not (entry.folder / "record.json").exists():
        return None
    try:
        network.load_state_dict(load_tensors(files[0])[0])
    except KdbenchError as error:
        return str(error).removesuffix(".")
    except RuntimeError:
        return f"{files[0].name} holds no weights of the suite's student"
    recipe = suite.recipe_of(record.student)
    device = torch.device("cpu")
    images = load_dataset(suite.data).inputs(suite.data, recipe.batch_size, device).test()
    network.to(memory_format=torch.channels_last)
    answers = predict(network, images, device, recipe.precision).argmax(dim=1).numpy()
    agreement = 100 * float((answers == entry.evidence.predicted).mean())
    if agreement < LEAST_AGREEMENT:
        return f"its weights, in the suite's student, agree with its evidence on {agreement:.1f} % of the test images"
    return None
