"""`kdbench list models` and `pairs`, `kdbench show model` and `show pair`: networks, their outputs and what matches."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import timm
import torch
from rich.console import Console
from torch import Tensor

from kdbench.commands.list_methods import print_rows
from kdbench.console import line_printer, write_json
from kdbench.errors import KdbenchError, NotApplicable, did_you_mean
from kdbench.networks.build import build_network, count_macs, count_parameters, create
from kdbench.networks.inputs import as_seen
from kdbench.networks.maps import FeatureMap, feature_maps, match_maps, paired_by, pre_activations, stem_maps
from kdbench.networks.outputs import OutputReader
from kdbench.networks.packages import list_networks
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Model


@dataclass(frozen=True)
class Measured:
    """A network and what it offers for inputs of one size."""

    name: str
    input_shape: tuple[int, ...]
    parameters: int
    macs: int
    embedding: int
    stem: list[FeatureMap]
    maps: list[FeatureMap]
    pre_activations: frozenset[str]


def measure(name: str, suite: Suite, size: int | None) -> Measured:
    """A network of the suite, or else of timm with 100 classes.

    Args:
        size: height and width of the input; None for the suite's, or the model's own.

    Raises:
        KdbenchError: neither has such a model, or it does not take inputs of this size.
    """
    if name in suite.models:
        network: Any = build_network(suite, name)
        shape = (suite.data.channels, *((size, size) if size else suite.data.image_size))
    else:
        network = create_for_size(name, size, f"'{name}' is no model of suite '{suite.name}'")
        own = network.pretrained_cfg.get("input_size", (3, 224, 224))
        shape = (3, size, size) if size else tuple(own)
    example = torch.zeros(1, *shape)
    macs = count_macs(network, example)
    embedding = OutputReader("model", network, {"embedding"}).shapes(example).embedding
    stem, maps, declared = offered_maps(network, example)
    seen = tuple(as_seen(network, example).shape[1:])
    return Measured(name, seen, count_parameters(network), macs, embedding, stem, maps, frozenset(declared))


def offered_maps(network: Any, example: Tensor) -> tuple[list[FeatureMap], list[FeatureMap], Collection[str]]:
    """The maps of a network's stem and stages, and those whose pre-activations it declares; none of one without."""
    try:
        return stem_maps(network, example), feature_maps(network, example), pre_activations(network)
    except NotApplicable:
        return [], [], ()


def create_for_size(name: str, size: int | None, where: str) -> Any:
    """timm's model; one whose constructor wants to know the size of its input (`img_size`) is told."""
    if size is not None and timm.is_model(name):
        with suppress(KdbenchError):
            return create(Model.model_validate({"name": name, "img_size": size}), where, 100, 3)
    return create(Model(name=name), where, 100, 3)


def show_model(name: str, suite_name: str, size: int | None, console: Console, as_json: bool) -> None:
    """Parameters, MACs and the outputs with their shapes and strides."""
    found = measure(name, load_suite(suite_name), size)
    maps = [
        {
            "map": m.name,
            "shape": "x".join(map(str, m.shape)),
            "stride": f"{m.stride:g}",
            "depth": f"{m.depth:.2f}" if m.depth else "stem",
            "pre-activation": "declared" if m.name in found.pre_activations else "",
        }
        for m in (*found.stem, *found.maps)
    ]
    if as_json:
        about = {"name": name, "input": found.input_shape, "parameters": found.parameters, "macs": found.macs}
        write_json({**about, "embedding": found.embedding, "maps": maps})
        return
    shape = "x".join(map(str, found.input_shape))
    line_printer(console)(
        f"{name}: {found.parameters:,} parameters, {found.macs:,} MACs at {shape}, embedding {found.embedding}\n"
    )
    print_rows(
        maps,
        ["map", "shape", "stride", "depth", *(["pre-activation"] if found.pre_activations else [])],
        console,
        False,
    )


def show_pair(pair: str, suite_name: str, size: int | None, console: Console, as_json: bool) -> None:
    """Which maps are matched, and what the student saves."""
    suite = load_suite(suite_name)
    names = pair.split(":")
    if len(names) != 2:
        raise KdbenchError(f"'{pair}' is no pair. Write TEACHER:STUDENT.")
    teacher, student = (measure(name, suite, size) for name in names)
    try:
        matches = match_maps(student.maps, teacher.maps, (f"student {student.name}", f"teacher {teacher.name}"))
    except NotApplicable as reason:
        raise KdbenchError(f"{pair}: {reason}.") from reason
    by = paired_by(student.maps, teacher.maps)
    rows = [{"student": str(s), "teacher": str(t), "paired by": by} for s, t in matches]
    compression = teacher.parameters / student.parameters
    if as_json:
        counts = {role: {"parameters": m.parameters, "macs": m.macs} for role, m in roles(teacher, student)}
        write_json({"pair": pair, "compression": compression, **counts, "maps": rows})
        return
    lines = [f"{role} {m.name}: {m.parameters:,} parameters, {m.macs:,} MACs" for role, m in roles(teacher, student)]
    lines.append(f"compression {compression:.1f}x, MACs {teacher.macs / student.macs:.1f}x\n")
    line_printer(console)("\n".join(lines))
    print_rows(rows, ["student", "teacher", "paired by"], console, False)


def roles(teacher: Measured, student: Measured) -> list[tuple[str, Measured]]:
    return [("teacher", teacher), ("student", student)]


def show_names(pattern: str, console: Console, as_json: bool) -> None:
    """Names of timm's registry, kdbench's and those of other packages among them, that match a wildcard."""
    packages = package_names()
    known = sorted({*timm.list_models(), *packages})
    names = sorted({*timm.list_models(pattern), *fnmatch.filter(packages, pattern)})
    if not names:
        raise KdbenchError(f"No model matches '{pattern}'.{did_you_mean(pattern, known)}")
    rows = [{"name": name, **({"package": packages[name]} if name in packages else {})} for name in names]
    columns = ["name", *(["package"] if any("package" in row for row in rows) else [])]
    print_rows(rows, columns, console, as_json)


def package_names() -> dict[str, str]:
    """The networks of other packages, not imported, each with its packages and their versions."""
    return {
        name: " and ".join(f"{plugin.distribution} {plugin.version}" for plugin in plugins)
        for name, plugins in list_networks().items()
    }


def show_pairs(name: str, console: Console, as_json: bool) -> None:
    """The pairs of a suite, with the sizes of both networks."""
    suite = load_suite(name)
    sizes = {model: size_of(suite, model)[0] for pair in suite.pairs for model in (pair.teacher, pair.student)}
    rows = [
        {
            "pair": str(pair),
            "teacher parameters": sizes[pair.teacher],
            "student parameters": sizes[pair.student],
            "compression": f"{sizes[pair.teacher] / sizes[pair.student]:.1f}x",
        }
        for pair in suite.pairs
    ]
    print_rows(rows, ["pair", "teacher parameters", "student parameters", "compression"], console, as_json)


def show_models(name: str, console: Console, as_json: bool) -> None:
    """The networks of a suite, then those of other packages that are not among them."""
    suite, packages = load_suite(name), package_names()
    rows: list[dict[str, Any]] = []
    for model, spec in suite.models.items():
        parameters, macs = size_of(suite, model)
        arguments = ", ".join(f"{k}={v}" for k, v in spec.about.items())
        row = {"name": model, "timm": spec.name, "arguments": arguments, "parameters": parameters, "MACs": macs}
        rows.append(row | ({"package": packages[spec.name]} if spec.name in packages else {}))
    used = {spec.name for spec in suite.models.values()}
    rows += [{"name": "", "timm": name, "package": package} for name, package in packages.items() if name not in used]
    columns = ["name", "timm", "arguments", "parameters", "MACs", *(["package"] if packages else [])]
    print_rows(rows, columns, console, as_json)


def size_of(suite: Suite, model: str) -> tuple[int, int]:
    """Parameters and MACs of a network of the suite."""
    network = build_network(suite, model)
    return count_parameters(network), count_macs(network, torch.zeros(1, suite.data.channels, *suite.data.image_size))
