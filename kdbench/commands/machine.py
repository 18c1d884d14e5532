"""Where a command trains: its engine, devices and workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kdbench.commands.elsewhere import Device
from kdbench.commands.request import Request, check_device, parse_device, parse_execution, parse_workers
from kdbench.errors import KdbenchError
from kdbench.running.engines import check_engine
from kdbench.running.engines.events import Machine
from kdbench.tables import Execution
from kdbench.training.limit import TimeLimit


def machine_of(request: Request, elsewhere: Device | None = None) -> Machine:
    """Where a request is trained.

    Args:
        elsewhere: of a dry run for another device, for which this machine need not have what the request asks for.

    Raises:
        KdbenchError: as `make_machine`.
    """
    how = None if elsewhere else request.execution
    given = request.device, request.workers, how, request.limit, not request.live_teacher
    machine = make_machine(*given, request.engine, request.engine_options)
    return replace(machine, execution=parse_execution(request.execution, ["cuda"])) if elsewhere else machine


def local_machine(machine: Machine) -> Machine:
    """This machine in the place of another engine's, to time steps on."""
    if machine.engine == "local":
        return machine
    return replace(machine, devices=parse_device("auto"), workers=machine.workers or 1, engine="local", options={})


def make_machine(
    device: str,
    workers: str,
    execution: Execution | None,
    limit: TimeLimit,
    stored: bool = False,
    engine: str = "local",
    options: Sequence[str] = (),
) -> Machine:
    """What an engine is given; the devices of engines of several machines are theirs to find.

    Raises:
        KdbenchError: an unknown engine, a device that is not there, or options of another form.
    """
    check_engine(engine)
    given = parse_options(engine, options)
    if engine == "local":
        devices = parse_device(device)
        how = parse_execution(execution, devices)
        return Machine(devices, parse_workers(workers, devices), how, limit, stored)
    check_device(device)
    if ":" in device:
        raise KdbenchError(f"--device {device}: --engine {engine} chooses the GPU of a cell. Write --device cuda.")
    if engine == "slurm" and workers == "auto":
        raise KdbenchError("--engine slurm: say how many jobs may run at a time, such as --workers 8.")
    how, many = parse_execution(execution, [device]), 0 if workers == "auto" else parse_workers(workers, [device])
    return Machine([device], many, how, limit, stored, engine, given)


def parse_options(engine: str, options: Sequence[str]) -> dict[str, str]:
    """`--engine-option NAME=VALUE`, by name.

    Raises:
        KdbenchError: not of that form, given twice, or for the local engine, which has none.
    """
    found: dict[str, str] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name.strip() or name in found:
            raise KdbenchError(f"--engine-option {option}: write NAME=VALUE, each name once, such as partition=gpu.")
        found[name.strip()] = value.strip()
    if found and engine == "local":
        raise KdbenchError("--engine-option is of --engine ray and slurm. Leave it out, or name the engine.")
    return found
