"""The Ray cluster that cells are trained on: reaching it, and having its computers show that they may."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from kdbench.data.access import load_dataset
from kdbench.environment import available_cores
from kdbench.errors import KdbenchError, did_you_mean, first_line, writing
from kdbench.running.engines.events import Event, Machine, Noticed
from kdbench.running.engines.travel import Luggage, difference, unlike
from kdbench.running.plan import Cell
from kdbench.tables import Data

OPTIONS = ("address", "cpus", "gpus")
SURVEY = 600  # seconds for every computer to show what it has


def check_options(machine: Machine) -> None:
    """Whether Ray has such options.

    Raises:
        KdbenchError: it has not.
    """
    for name, value in machine.options.items():
        if name not in OPTIONS:
            raise KdbenchError(f"--engine-option {name}: unknown to --engine ray.{did_you_mean(name, OPTIONS)}")
        if name != "address":
            try:
                fine = float(value) > 0
            except ValueError:
                fine = False
            if not fine:
                raise KdbenchError(
                    f"--engine-option {name}={value}: give how many {name} a cell has, such as 1 or 0.5."
                )


@contextmanager
def cluster(machine: Machine) -> Iterator[None]:
    """A connection to the cluster that is named or runs here, else one of this machine's own.

    Raises:
        KdbenchError: it cannot be reached, or has other versions of Ray or Python.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as Ray will have it anyway; without its warning
    address = machine.options.get("address") or os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        try:
            ray.init(address=address or "auto", **quiet)
        except ConnectionError:
            if address:
                raise
            ray.init(num_cpus=available_cores(), include_dashboard=False, **quiet)
    except (RuntimeError, OSError, ValueError) as error:
        raise KdbenchError(f"No Ray cluster at {address or 'this machine'}: {first_line(error)}.") from error
    try:
        yield
    finally:
        ray.shutdown()


def chosen_device(machine: Machine) -> str:
    """`cuda` where the cluster has GPUs and nothing else is asked for; Ray shows a worker no others than its own."""
    [device] = machine.devices
    if device != "auto":
        return device
    return "cuda" if ray.cluster_resources().get("GPU", 0) else "cpu"


def needs(machine: Machine, device: str) -> dict[str, float]:
    """What a cell takes of a computer, in Ray's names."""
    gpus = {"num_gpus": float(machine.options.get("gpus", 1))} if device == "cuda" else {}
    return {"num_cpus": float(machine.options.get("cpus", 1)), **gpus}


def alive() -> dict[str, str]:
    """The computers of the cluster that are there, by their ids, with the names that people know them by."""
    return {node["NodeID"]: label(node["NodeID"], node["NodeManagerHostname"]) for node in ray.nodes() if node["Alive"]}


def label(node_id: str, host: str | None = None) -> str:
    """A computer's name; several nodes of Ray may be on one computer."""
    return f"{host or platform.node()}/{node_id[:4]}"


def look_around(cells: Sequence[Cell], luggage: Luggage, runtime: dict[str, Any]) -> Iterator[Event]:
    """Have every computer show that it may train the cells, before anything runs; one that leaves meanwhile will not.

    Raises:
        KdbenchError: the first that may not.
    """
    seen = f".seen-{os.getpid()}"
    with writing(luggage.root):
        (luggage.root / seen).touch()
    data = list({cell.data.model_dump_json(): cell.data for cell in cells}.values())
    task = ray.remote(num_cpus=0, max_retries=0, runtime_env=runtime)(survey)
    try:
        asked = {
            node: task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
                luggage, data, seen, name
            )
            for node, name in alive().items()
        }
        for node, answer in asked.items():
            try:
                problem, remark = ray.get(answer, timeout=SURVEY)
            except (RayError, GetTimeoutError) as error:
                if (name := alive().get(node)) is None:
                    continue
                problem, remark = f"{name} cannot run kdbench: {last_line(error)}", ""
            if problem:
                raise KdbenchError(problem)
            if remark:
                yield Noticed(remark)
    finally:
        (luggage.root / seen).unlink(missing_ok=True)


def survey(luggage: Luggage, data: Sequence[Data], seen: str, where: str) -> tuple[str, str]:
    """What keeps this computer from training the cells, and what else is to be said of it.

    Args:
        seen: a file that the parent has put into the shared folder.
    """
    if not (luggage.root / seen).is_file():
        return f"{where} does not see the folder {luggage.root}. Put it where all computers share it (--out).", ""
    if problem := difference(luggage, where):
        return problem, ""
    try:
        for one in data:
            load_dataset(one)
    except KdbenchError as error:
        return f"On {where}: {error}", ""
    return "", unlike(luggage, where)


def last_line(error: BaseException) -> str:
    """The end of what Ray says, where the cause stands."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
