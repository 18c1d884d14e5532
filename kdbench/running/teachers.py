"""Finding a teacher: the cache of what was trained here, the accepted results, the teachers that ship with kdbench.

Weights that are too large to lie beside an accepted record are fetched from where the suite says they are.

A teacher is trained once per (suite, name): once an architecture, but for suites with several of each. Its weights are
rounded to half precision before they are evaluated and hashed, and a cell's key holds that hash.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.hub import download_url_to_file

from kdbench.cache import cache_folder
from kdbench.console import Notice
from kdbench.errors import KdbenchError, writing
from kdbench.files import check_plain, set_aside
from kdbench.hashing import digest, file_sha256
from kdbench.layout import TEACHERS
from kdbench.networks.build import build_network
from kdbench.plugins import load_method
from kdbench.records.evidence import Evidence
from kdbench.records.keys import teacher_key
from kdbench.records.reader import read_results
from kdbench.records.record import Record
from kdbench.records.store import Entry, read_runs, weights_name
from kdbench.suite import Suite
from kdbench.suites import SUITES
from kdbench.teacher_names import split_teacher
from kdbench.training.checkpoint import load_tensors

MAX_WEIGHTS = 2**36  # bytes
BASELINE = "vanilla"  # the plain method, by which teachers are trained and beside which methods are shown


@dataclass(frozen=True)
class Teacher:
    """A teacher's weights on disk, with its record and evidence; `model` is its architecture."""

    model: str
    path: Path
    sha256: str
    record: Record
    evidence: Evidence

    def load(self, suite: Suite) -> nn.Module:
        """The network in evaluation mode, without gradients to its weights.

        Raises:
            KdbenchError: the file changed since it was found.
        """
        if file_sha256(self.path) != self.sha256:
            raise KdbenchError(f"Teacher file {self.path} is corrupt. Run the command again: it will be set aside.")
        network = build_network(suite, self.model)
        network.load_state_dict(load_tensors(self.path)[0])
        return network.eval().requires_grad_(False)


def find_teacher(suite: Suite, name: str, results: Path | None, notice: Notice) -> Teacher | None:
    """The teacher of this suite and name, its file verified; None if it has to be trained.

    A corrupt file is named through `notice` and set aside.
    """
    model, number = split_teacher(name)
    version, given = load_method(BASELINE).version, suite.weights.get(model)
    trained = teacher_key(suite, model, version, number=number)
    key = trained if given is None else teacher_key(suite, model, version, given.sha256 or "")
    for entry in candidates(suite, results, notice):
        record = entry.record
        if entry.evidence is None or record.main.sha256 is None:
            continue
        is_accepted = given is not None and given.sha256 == record.main.sha256 and record.key == trained
        if record.key != key and not is_accepted:
            continue
        path = entry.folder / weights_name(model, record.main.sha256)
        if weights_are_whole(entry):
            return Teacher(model, path, record.main.sha256, record, entry.evidence)
        if not path.is_file() and is_accepted and given is not None and given.address is not None:
            fetched_file = fetched(suite, model, given.address, record.main.sha256)
            return Teacher(model, fetched_file, record.main.sha256, record, entry.evidence)
        if path.is_file():
            notice(put_aside(path, f"{path} is corrupt: its content does not match its hash."))
    return None


def fetched(suite: Suite, model: str, address: str, sha256: str | None) -> Path:
    """The weights file of a teacher in the cache, downloaded if it is not there.

    Args:
        sha256: of the file; without it a download is taken to stay as it is.

    Raises:
        KdbenchError: it cannot be downloaded, or is another file than the suite says.
    """
    path = weights_folder(suite) / weights_name(model, sha256 or digest(address))
    with writing(path, "Set KDBENCH_CACHE to another folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if path.is_file() and sha256 in (None, file_sha256(path)):
                return path
            try:
                download_url_to_file(address, str(path), hash_prefix=sha256, progress=False)
            except URLError as error:
                raise KdbenchError(
                    f"The weights of teacher '{model}' cannot be fetched from {address}: {error.reason}. Correct "
                    f"weights.{model}, or remove it to train one with: kdbench teach --suite {suite.name}"
                ) from error
            except RuntimeError as error:
                raise KdbenchError(
                    f"{address} is not the file that suite '{suite.name}' says: its SHA-256 differs."
                ) from error
    return path


def weights_folder(suite: Suite) -> Path:
    """Where the cache has files of weights that a suite names."""
    return cache_folder() / suite.name / "weights"


def weights_are_whole(entry: Entry) -> bool:
    """Whether a teacher's weights lie beside its record, unchanged."""
    network = entry.record.main
    path = entry.folder / weights_name(network.model, network.sha256 or "")
    try:
        check_plain(path, MAX_WEIGHTS)
    except (FileNotFoundError, KdbenchError):
        return False
    return file_sha256(path) == network.sha256


def candidates(suite: Suite, results: Path | None, notice: Notice) -> Iterator[Entry]:
    """Teacher records, in the order of the look-up."""
    for found in read_runs(cache_folder(), suite.name, TEACHERS):
        if isinstance(found, KdbenchError):
            notice(str(found))
        else:
            yield found
    for folder in ([results / suite.name / TEACHERS] if results else []) + [SUITES / suite.name / TEACHERS]:
        try:
            yield from read_results(folder)
        except KdbenchError as error:
            notice(str(error))


def put_aside(path: Path, problem: str) -> str:
    """Set a corrupt file aside where that can be done, and say so."""
    try:
        return f"{problem} Set aside as {set_aside(path).name}."
    except OSError:
        return f"{problem} It cannot be set aside; it is not used."


@torch.no_grad()
def half_precision_weights(network: nn.Module) -> dict[str, Tensor]:
    """Round the weights of a network to half precision in place; returns them as such, buffers in float32."""
    for parameter in network.parameters():
        parameter.copy_(parameter.half())
    weights = {name for name, _ in network.named_parameters()}
    return {name: value.half() if name in weights else value for name, value in network.state_dict().items()}
