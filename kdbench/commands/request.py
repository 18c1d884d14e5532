"""What a `kdbench run` asks for, and the parsing of its options. Imports torch only to look for GPUs and parameters."""

from __future__ import annotations

import os
import sys
import tomllib
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdbench.declared import declared_parameters
from kdbench.environment import available_cores
from kdbench.errors import KdbenchError, did_you_mean
from kdbench.files import check_folder
from kdbench.layout import RUNS
from kdbench.plugins import find_plugin, load_method
from kdbench.running.engines import check_engine
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Execution, Pair
from kdbench.training.limit import TimeLimit

MAX_SEED = 10_000


@dataclass(frozen=True)
class Request:
    """What the command line asks for; None and empty stand for the suite's own."""

    suite: str
    methods: tuple[str, ...]
    pairs: tuple[str, ...] = ()
    seeds: str | None = None
    epochs: int | None = None
    validate: bool = False
    settings: tuple[str, ...] = ()
    device: str = "auto"
    workers: str = "auto"
    execution: Execution | None = None
    live_teacher: bool = False
    out: Path = RUNS
    results: Path | None = None
    dry_run: bool = False
    force: bool = False
    tracking_uri: str | None = None
    mlflow: bool = True
    as_json: bool = False
    elsewhere: str | None = None
    limit: TimeLimit = field(default_factory=TimeLimit, compare=False)
    engine: str = "local"
    engine_options: tuple[str, ...] = ()
    shard: str | None = None


def check_request(request: Request) -> None:
    """Find mistakes that need no torch to be seen, before it is imported, which takes seconds.

    Raises:
        KdbenchError: an unknown suite, pair or method, or an option of another form.
    """
    check_folder(request.out)
    suite = load_suite(request.suite)
    parse_pairs(suite, request.pairs)
    parse_seeds(suite, request.seeds)
    plugins = [find_plugin(name) for name in request.methods]
    names = [split_setting(setting)[0] for setting in request.settings]
    if all(plugin.distribution == "kdbench" for plugin in plugins):  # of others only their import tells
        known = set[str]().union(*(declared_parameters(plugin.target) for plugin in plugins))
        for setting, name in zip(request.settings, names, strict=True):
            if name not in known:
                raise unknown_parameter(setting, name, request.methods, known)
    check_device(request.device)
    parse_workers(request.workers, ["cpu"])
    parse_shard(request.shard)
    check_engine(request.engine)


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """'2/8' is the second of eight parts of a plan.

    Raises:
        KdbenchError: not of that form.
    """
    if text is None:
        return None
    number, _, count = text.partition("/")
    if all(part.isascii() and part.isdigit() for part in (number, count)) and 1 <= int(number) <= int(count) <= 10_000:
        return int(number), int(count)
    raise KdbenchError(f"--shard {text}: write which part of how many, from 1/8 to 8/8.")


def parse_pairs(suite: Suite, wanted: Sequence[str]) -> list[Pair]:
    """The suite's pairs, or those of them that are wanted."""
    known = {str(pair): pair for pair in suite.pairs}
    for name in wanted:
        if name not in known:
            raise KdbenchError(f"Suite '{suite.name}' has no pair '{name}' (--pair).{did_you_mean(name, known)}")
    return [known[name] for name in dict.fromkeys(wanted)] or list(suite.pairs)


def parse_seeds(suite: Suite, text: str | None) -> list[int]:
    """'5' means 0 to 4; '0,2' or '3,' are the seeds themselves."""
    if text is None:
        return list(range(suite.seeds))
    try:
        seeds = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        seeds = []
    if seeds and max(seeds) > MAX_SEED:
        raise KdbenchError(f"--seeds {text}: {MAX_SEED} is the most.")
    if "," not in text and seeds:
        seeds = list(range(seeds[0]))
    if not seeds or min(seeds) < 0:
        raise KdbenchError(f"--seeds {text}: give how many (5), or which ones (0,1,2).")
    return list(dict.fromkeys(seeds))


def parse_settings(settings: Sequence[str], methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`--set name=value` for every method that has the parameter.

    Raises:
        KdbenchError: not of that form, or a parameter that none of the methods has.
    """
    parsed: dict[str, dict[str, Any]] = {method: {} for method in methods}
    fields = {method: load_method(method).Params.model_fields for method in methods}
    for setting in settings:
        name, text = split_setting(setting)
        if any(name in values for values in parsed.values()):
            raise KdbenchError(f"--set {setting}: '{name}' is given twice. Choose one value a run.")
        owners = [method for method in methods if name in fields[method]]
        if not owners:
            raise unknown_parameter(setting, name, methods, {field for method in methods for field in fields[method]})
        for method in owners:
            parsed[method][name] = parse_value(text)
    return parsed


def unknown_parameter(setting: str, name: str, methods: Sequence[str], known: Collection[str]) -> KdbenchError:
    said = f"--set {setting}: {' and '.join(methods)} has no parameter '{name}'.{did_you_mean(name, known)}"
    return KdbenchError(said)


def split_setting(setting: str) -> tuple[str, str]:
    """Name and value of `--set name=value`, both as text.

    Raises:
        KdbenchError: not of that form.
    """
    name, equals, text = setting.partition("=")
    if not equals or not name.strip():
        raise KdbenchError(f"--set {setting}: write name=value, such as --set temperature=2.")
    return name.strip(), text


def parse_value(text: str) -> Any:
    """A TOML value; anything else is a string, what TOML would take for a comment among it."""
    try:
        values = tomllib.loads(f"value = [{text}]")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()
    return values[0] if len(values) == 1 else text.strip()


def check_device(text: str) -> None:
    """Whether a device has a name that kdbench knows; not whether it is there.

    Raises:
        KdbenchError: it has not.
    """
    kind, _, number = text.partition(":")
    if text not in ("auto", "cpu", "cuda") and not (kind == "cuda" and number.isascii() and number.isdigit()):
        raise KdbenchError(f"Unknown device '{text}' (--device). Known: auto, cpu, cuda, cuda:0, cuda:1, ...")


def parse_device(text: str) -> list[str]:
    """Devices to spread cells over.

    Raises:
        KdbenchError: an unknown device, or one that is not there.
    """
    check_device(text)
    if text == "cpu":
        return ["cpu"]
    count, why = find_gpus()
    if text == "auto":
        if why and not count:
            sys.stderr.write(f"kdbench: no GPU is used.{why}\n")
        return [f"cuda:{i}" for i in range(count)] or ["cpu"]
    number = text.partition(":")[2]
    if not count or (number and int(number) >= count):
        raise KdbenchError(f"No device '{text}' (--device): PyTorch finds {count} NVIDIA GPUs. Use --device cpu.{why}")
    return [text] if number else [f"cuda:{i}" for i in range(count)]


def find_gpus() -> tuple[int, str]:
    """How many GPUs PyTorch finds, and what it says of them: of a driver that is too old, say."""
    import torch

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return count, f" PyTorch says: {str(said[0].message).splitlines()[0]}" if said else ""


def parse_workers(text: str, devices: Sequence[str]) -> int:
    """Processes of all devices: so many on each, or as many as there are cores (CPU) or GPUs.

    Raises:
        KdbenchError: not a number above 0.
    """
    if text == "auto":
        return available_cores() if devices == ["cpu"] else len(devices)
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise KdbenchError(f"--workers {text}: give a number of processes, 1 or more, or auto.")
    return int(text) * len(devices)


def parse_execution(execution: Execution | None, devices: Sequence[str]) -> Execution:
    """How steps run: if nothing else is asked for, as a CUDA graph where there is a GPU.

    Raises:
        KdbenchError: a CUDA graph on a CPU.
    """
    if execution == "captured" and devices == ["cpu"]:
        raise KdbenchError("Steps are captured as CUDA graphs, and the device is a CPU. Run them eagerly.")
    return execution or ("eager" if devices == ["cpu"] else "captured")


def parse_data_dir(folder: Path | None) -> None:
    """Let this process and its workers read data sets from the user's folder.

    Raises:
        KdbenchError: there is no such folder.
    """
    if folder is not None:
        os.environ["KDBENCH_DATA"] = str(folder.absolute())
    if (named := os.environ.get("KDBENCH_DATA")) and not Path(named).expanduser().is_dir():
        raise KdbenchError(f"No folder {named} (--data-dir, KDBENCH_DATA).")
