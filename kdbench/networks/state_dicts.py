"""Weights as users have them: a state dict in a file of PyTorch's or of safetensors, loaded strictly. No pickle."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from kdbench.errors import KdbenchError, first_line
from kdbench.networks.authors import AUTHORS, authors_names

State = Mapping[str, Tensor]
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "net", "network")  # in this order
PREFIXES = ("module.", "model.", "net.", "network.")  # of networks within others
COMPILED = "_orig_mod."  # wherever a part was compiled
HARMLESS: list[Any] = [argparse.Namespace, np.dtype, type(np.dtype("f4")), type(np.dtype("f8")), type(np.dtype("i8"))]
SCALAR: Any = np.float64(0).__reduce__()[0]  # what makes one again: checkpoints often hold an accuracy
UNCOUNTED = "num_batches_tracked"  # which older files lack and no output depends on
NAMED = 3  # names in a message


def read_state(path: Path, name: str) -> dict[str, Tensor]:
    """The state dict in a file, out of what wraps it.

    Args:
        name: of the file, for messages.

    Raises:
        KdbenchError: no file of weights, one that holds more than weights, or one without a state dict.
    """
    found: Any = load(path, name)
    for _ in WRAPPERS:
        if not isinstance(found, Mapping) or (found and all(isinstance(value, Tensor) for value in found.values())):
            break
        inner = next((key for key in WRAPPERS if isinstance(found.get(key), Mapping)), None)
        if inner is None:
            break
        found = found[inner]
    if isinstance(found, Mapping) and found and all(isinstance(key, str) for key in found):
        others = [key for key, value in found.items() if not isinstance(value, Tensor)]
        if not others:
            return dict(found)
        held = f"{listed(others)} beside what may be weights"
    else:
        held = f"a {type(found).__name__}"
    raise KdbenchError(f"{name} holds no state dict but {held}. Save one: torch.save(model.state_dict(), PATH).")


def load(path: Path, name: str) -> Any:
    """What a file holds, by what it is, not by how it is called.

    Raises:
        KdbenchError: it cannot be read, or holds objects that only running code could make.
    """
    try:
        with path.open("rb") as file:
            start = file.read(2)
            file.seek(0)
            if start == b"PK" or start[:1] == b"\x80":  # a ZIP archive, or a bare pickle of older versions
                known = [*HARMLESS, SCALAR, (SCALAR, "numpy.core.multiarray.scalar")]
                with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals(known):
                    return torch.load(file, map_location="cpu", weights_only=True)
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dict)
    except SafetensorError as error:
        said = f"{name} is no file of PyTorch's or of safetensors: {first_line(error)}"
        raise KdbenchError(f"{said}. Save a state dict: torch.save(model.state_dict(), PATH).") from error
    except OSError as error:
        raise KdbenchError(f"Cannot read {name}: {error.strerror or first_line(error)}.") from error
    except Exception as error:  # whatever a damaged or hostile file makes PyTorch say
        unsafe = re.search(r"GLOBAL ([\w.]+)", str(error))
        if "weights_only" in str(error).lower() and unsafe:
            raise KdbenchError(
                f"{name} holds objects beside weights ({unsafe[1]}), which are not loaded, since that could run code. "
                "Save its state dict alone: torch.save(model.state_dict(), PATH)."
            ) from error
        raise KdbenchError(f"Cannot read {name}: {first_line(error)}.") from error


def load_strictly(network: nn.Module, state: State, timm_name: str, where: str) -> str | None:
    """Load a state dict into a network: all of its weights, and none beside them.

    Args:
        timm_name: of the network, by which the names of other authors' code are known.
        where: what is loaded into what, for messages.

    Returns:
        whose names the weights had, if not the network's own.

    Raises:
        KdbenchError: names, shapes or classes differ, or a value is not finite; names them.
    """
    wanted = network.state_dict()
    given, origin = without_prefixes(state, wanted, where), None
    rename = authors_names(timm_name)
    if rename is not None and set(given) != set(wanted):
        renamed = {rename(name): value for name, value in given.items()}
        if len(renamed) == len(given) and len(set(renamed) & set(wanted)) > len(set(given) & set(wanted)):
            given, origin = renamed, AUTHORS
    if problem := misfit(given, wanted, classifier_of(network)):
        raise KdbenchError(f"{where}: {problem}.")
    if bad := [name for name, value in given.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise KdbenchError(f"{where}: {listed(bad)} holds values that are not finite.")
    try:
        network.load_state_dict(given, strict=False)  # but for counts of batches, all of them
    except RuntimeError as error:  # types that cannot be copied
        raise KdbenchError(f"{where}: {' '.join(str(error).split())}") from error
    return origin


def without_prefixes(state: State, wanted: Collection[str], where: str) -> dict[str, Tensor]:
    """A state dict without what wrappers of the network put before its names.

    Raises:
        KdbenchError: two of its names are one without it.
    """
    given = {name.replace(COMPILED, ""): value for name, value in state.items() if name != "n_averaged"}
    if len(given) < len(state) - ("n_averaged" in state):
        raise KdbenchError(f"{where}: it has weights both with and without '{COMPILED}' in their names.")
    while prefix := next((p for p in PREFIXES if given and all(name.startswith(p) for name in given)), None):
        if all(name.startswith(prefix) for name in wanted):
            break
        given = {name.removeprefix(prefix): value for name, value in given.items()}
    return given


def classifier_of(network: Any) -> set[str]:
    """Names of the weights of a network's classifier."""
    found = network.get_classifier()
    heads = found if isinstance(found, tuple) else (found,)  # one for distillation beside the main one
    parameters = {id(value) for head in heads for value in head.parameters()}
    return {name for name, value in network.named_parameters() if id(value) in parameters}


def misfit(given: State, wanted: State, classifier: Collection[str]) -> str:
    """What keeps a state dict from being a network's, if so."""
    missing = [name for name in wanted if name not in given and not name.endswith(UNCOUNTED)]
    unexpected = [name for name in given if name not in wanted]
    names = [f"{what} {listed(some)}" for what, some in (("missing", missing), ("unexpected", unexpected)) if some]
    if names:
        return f"names differ: {'; '.join(names)}. Correct the model's name or arguments"
    differ = [name for name, value in wanted.items() if name in given and given[name].shape != value.shape]
    heads = [name for name in differ if name in classifier and given[name].shape[1:] == wanted[name].shape[1:]]
    if heads and len(heads) == len(differ) and given[heads[0]].ndim:
        have, want = len(given[heads[0]]), len(wanted[heads[0]])
        return f"its classifier ({heads[0]}) has {have} classes, and the data have {want} (data.num_classes)"
    if differ:
        shapes = [f"{name} is {sizes(given[name])}, not {sizes(wanted[name])}" for name in differ[:NAMED]]
        return f"shapes differ: {', '.join(shapes)}{more(differ)}. Correct the model's name or arguments"
    if odd := [name for name, value in given.items() if not is_like(value, wanted[name])]:
        return f"{listed(odd)} is of a type that no network trains (such as {given[odd[0]].dtype})"
    return ""


def is_like(value: Tensor, wanted: Tensor) -> bool:
    """Whether a tensor is a plain one, of real numbers where the network has such."""
    plain = value.layout is torch.strided and value.device.type == "cpu" and not value.is_quantized
    return plain and value.is_floating_point() == wanted.is_floating_point() and not value.is_complex()


def listed(names: Collection[Any]) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(f"{name!s:.60}" for name in list(names)[:NAMED]) + more(names)


def more(names: Collection[Any]) -> str:
    return f" and {len(names) - NAMED} more" if len(names) > NAMED else ""


def sizes(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "a number"
