"""Teachers with weights of one's own: a file, an address, or the student of a record; found by content in the cache."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from kdbench.errors import KdbenchError, writing
from kdbench.files import write_atomically
from kdbench.hashing import file_sha256
from kdbench.networks.state_dicts import load_strictly, read_state
from kdbench.records.store import RECORD, read_cell, weights_name
from kdbench.running.teachers import fetched, weights_folder
from kdbench.suite import Suite
from kdbench.tables import Weights

OWN = "weights of its own"


def with_own_weights(suite: Suite, download: bool = True) -> Suite:
    """The suite with the hashes of its teachers' own weights, whose files are then in the cache under them.

    Args:
        download: fetch what has an address and no hash; without it, such weights stay unknown.

    Raises:
        KdbenchError: a file or record that is not there, or is another one than the suite says.
    """
    bound = {name: bound_weights(suite, name, weights, download) for name, weights in suite.weights.items()}
    return suite.model_copy(update={"weights": bound}) if bound else suite


def bound_weights(suite: Suite, model: str, weights: Weights, download: bool) -> Weights:
    """One teacher's weights with the hash of their file.

    Raises:
        KdbenchError: as `with_own_weights`.
    """
    where = f"Suite '{suite.name}', weights.{model}"
    if weights.address is not None:
        if weights.sha256 is not None or not download:
            return weights
        path = fetched(suite, model, weights.address, None)
    elif weights.record is not None:
        path, origin = distilled(Path(weights.record), where)
        weights = weights.model_copy(update={"origin": weights.origin or origin})
    else:
        path = Path(weights.file or "")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise KdbenchError(f"{where}: cannot read {path}: {error.strerror}. Correct its path.") from error
    sha256 = file_sha256(path)
    if weights.sha256 not in (None, sha256):
        raise KdbenchError(
            f"{where}: {path} has sha256 {sha256}, not the suite's {weights.sha256}. Correct one of them."
        )
    kept = own_file(suite, model, sha256)
    with writing(kept, "Set KDBENCH_CACHE to another folder"):
        if not kept.is_file() or file_sha256(kept) != sha256:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(kept, content)
    return weights.model_copy(update={"sha256": sha256})


def distilled(folder: Path, where: str) -> tuple[Path, str]:
    """The weights of a record's student in `runs/`, and what records say of them.

    Raises:
        KdbenchError: no record of a trained student, or its weights are not those that it was written with.
    """
    if not (folder / RECORD).is_file():
        said = "give the folder of a record, such as runs/digits/kd/0123456789abcdef"
        raise KdbenchError(f"{where}: there is no {RECORD} in {folder}: {said}.")
    record = read_cell(folder.resolve()).record
    if record.is_teacher or record.status != "done":
        raise KdbenchError(f"{where}: {folder} is not the record of a trained student. Choose another one.")
    found = sorted(folder.glob(f"{record.student}-*.safetensors"))
    if len(found) != 1 or found[0].name != weights_name(record.student, file_sha256(found[0])):
        raise KdbenchError(f"{where}: the weights of '{record.student}' in {folder} are missing or corrupt.")
    return found[0], f"student of {record.row} (record {record.key[:16]})"[:200]


def own_file(suite: Suite, model: str, sha256: str) -> Path:
    """Where the cache has a file of a teacher's own weights."""
    return weights_folder(suite) / weights_name(model, sha256)


def load_own_weights(suite: Suite, model: str, network: nn.Module) -> str:
    """Load a teacher's own weights; returns where they come from, for its record.

    Raises:
        KdbenchError: they are not there any more, cannot be had, or are not of this network.
    """
    weights = suite.weights[model]
    sha256 = weights.sha256 or ""
    path = own_file(suite, model, sha256)
    if weights.address is not None:
        path = fetched(suite, model, weights.address, sha256)
    named = next(name for name in (weights.file, weights.address, weights.record) if name is not None)
    if not path.is_file() or file_sha256(path) != sha256:
        raise KdbenchError(f"{path} is corrupt or gone. Run the command again: it is copied anew from {named}.")
    spec, where = suite.models[model], f"Suite '{suite.name}', weights.{model}: {named}"
    by_names = load_strictly(network, read_state(path, named), spec.name, f"{where} does not fit '{model}'")
    if large := [name for name, value in network.named_parameters() if not value.half().isfinite().all()]:
        raise KdbenchError(f"{where}: {large[0]} is beyond half precision, in which teachers are kept. Scale it.")
    return weights.origin or (OWN if by_names is None else f"{OWN}, with the names of {by_names}")
