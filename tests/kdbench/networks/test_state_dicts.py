"""State dicts as users have them load strictly, whatever wraps them; what is none, or another's, is one line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import kdbench.models  # noqa: F401  (registers the networks)
from kdbench.errors import KdbenchError
from kdbench.networks.authors import AUTHORS
from kdbench.networks.state_dicts import load_strictly, read_state

NAME = "cifar_resnet8"
AUTHORS_MODULES = json.loads((Path(__file__).parent / "authors_names.json").read_text())
State = dict[str, Tensor]


def build(name: str = NAME, seed: int = 0, classes: int = 10) -> Any:
    torch.manual_seed(seed)
    network = timm.create_model(name, num_classes=classes)
    for value in network.buffers():
        if value.is_floating_point():
            value.uniform_(0.5, 1.5)
    return network


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: value for name, value in state.items()}


def in_the_middle(state: State) -> State:
    return {name.replace("layer1.", "layer1._orig_mod."): value for name, value in state.items()}


WRAPPED: dict[str, Callable[[State], Any]] = {
    "plain": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model, with an accuracy of NumPy and the script's options": lambda s: {
        "model": s,
        "best_acc": np.float64(71.5),
        "opt": argparse.Namespace(lr=0.1),
    },
    "model_ema before model": lambda s: {"model": prefixed(s, "other."), "model_ema": prefixed(s, "module.")},
    "state_dict in model_ema": lambda s: {"model_ema": {"state_dict": s, "decay": 0.9}},
    "module.": lambda s: prefixed(s, "module."),
    "_orig_mod.module.": lambda s: {"state_dict": prefixed(s, "_orig_mod.module.")},
    "a compiled part": in_the_middle,
    "an averaged model": lambda s: {"n_averaged": torch.tensor(3), **prefixed(s, "module.")},
    "Lightning": lambda s: {"state_dict": prefixed(s, "model."), "callbacks": {}},
    "half precision": lambda s: {name: v.half() if v.is_floating_point() else v for name, v in s.items()},
    "without counts": lambda s: {name: v for name, v in s.items() if not name.endswith("num_batches_tracked")},
}


@pytest.mark.parametrize("how", WRAPPED)
def test_whatever_wraps_a_state_dict_the_network_is_the_one_that_was_saved(how: str, tmp_path: Path) -> None:
    saved, network = build(seed=1), build(seed=2)
    torch.save(WRAPPED[how](saved.state_dict()), path := tmp_path / "teacher.bin")
    assert load_strictly(network, read_state(path, path.name), NAME, "here") is None
    images = torch.randn(2, 3, 16, 16)
    exact = torch.equal(saved.eval()(images), network.eval()(images))
    assert exact or (how == "half precision" and torch.allclose(saved(images), network(images), rtol=0.02, atol=0.02))


def test_safetensors_and_older_files_of_pytorch_are_known_by_their_content(tmp_path: Path) -> None:
    state = build(seed=1).state_dict()
    save_file(state, tmp_path / "a.pth")
    torch.save(state, tmp_path / "b.safetensors", _use_new_zipfile_serialization=False)
    for name in ("a.pth", "b.safetensors"):
        read = read_state(tmp_path / name, name)
        assert all(torch.equal(read[key], value) for key, value in state.items())


@pytest.mark.parametrize("name", AUTHORS_MODULES)
def test_the_authors_names_become_those_of_the_network(name: str) -> None:
    saved, network = build(name, seed=1), build(name, seed=2)
    ours = dict.fromkeys(key.rpartition(".")[0] for key in saved.state_dict())
    theirs = dict(zip(ours, AUTHORS_MODULES[name], strict=True))  # the modules are in the order of the authors' code
    state = {}
    for key, value in saved.state_dict().items():
        module, _, leaf = key.rpartition(".")
        state[f"{theirs[module]}.{leaf}"] = value
    origin = load_strictly(network, state, name, "here")
    assert origin == (None if name == "cifar_resnet8x4" else AUTHORS)  # whose names are the same
    assert all(map(torch.equal, saved.state_dict().values(), network.state_dict().values()))


def without(state: State, name: str) -> State:
    return {key: value for key, value in state.items() if key != name}


CYCLE: dict[str, Any] = {}
CYCLE["model"] = CYCLE
MISFITS: dict[str, tuple[Callable[[State], Any], str]] = {
    "missing": (lambda s: without(s, "bn1.bias"), "here: names differ: missing bn1.bias. Correct the model's name"),
    "unexpected": (lambda s: {**s, "head.weight": torch.zeros(1)}, "names differ: unexpected head.weight. Correct"),
    "many": (lambda s: prefixed(s, "x."), "missing conv1.weight, bn1.weight, bn1.bias and [0-9]+ more; unexpected x"),
    "classes": (
        lambda s: {**s, "fc.weight": torch.zeros(7, 64), "fc.bias": torch.zeros(7)},
        r"its classifier \(fc.weight\) has 7 classes, and the data have 10 \(data.num_classes\)",
    ),
    "shapes": (lambda s: {**s, "conv1.weight": torch.zeros(8, 3, 3, 3)}, "conv1.weight is 8x3x3x3, not 16x3x3x3"),
    "not finite": (lambda s: {**s, "fc.bias": torch.full((10,), torch.nan)}, "fc.bias holds values that are not fin"),
    "integers": (
        lambda s: {**s, "fc.bias": torch.zeros(10, dtype=torch.int8)},
        r"fc.bias is of a type that no network trains \(such as torch.int8\)",
    ),
    "sparse": (lambda s: {**s, "fc.bias": torch.ones(10).to_sparse()}, "fc.bias is of a type that no network trains"),
    "twice": (lambda s: {**s, "_orig_mod.fc.bias": torch.zeros(10)}, "weights both with and without '_orig_mod.'"),
    "numbers": (lambda s: {**s, "epoch": 3}, "it.pth holds no state dict but epoch beside what may be weights"),
    "nothing": (lambda s: {}, "it.pth holds no state dict but a dict"),
    "a list": (lambda s: [1], "it.pth holds no state dict but a list"),
    "itself": (lambda s: CYCLE, "it.pth holds no state dict but model beside"),
    "a network": (lambda s: nn.Linear(2, 2), r"it.pth holds objects beside weights \(torch.nn.*which are not loaded"),
    "code": (lambda s: {"model": s, "hook": Path("x")}, r"it.pth holds objects beside weights \(pathlib.*run code"),
}


@pytest.mark.parametrize("what", MISFITS)
def test_what_does_not_fit_is_one_line_that_names_it(what: str, tmp_path: Path) -> None:
    make, said = MISFITS[what]
    network = build(seed=2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.save(make(build(seed=1).state_dict()), path := tmp_path / "it.pth")
    with pytest.raises(KdbenchError, match=said) as caught:
        load_strictly(network, read_state(path, path.name), NAME, "here")
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02garbage", b"hello, this is no file of weights"])
def test_a_damaged_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "it.pth").write_bytes(content)
    with pytest.raises(KdbenchError, match=r"it\.pth") as caught:
        read_state(tmp_path / "it.pth", "it.pth")
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_one_line(tmp_path: Path) -> None:
    torch.save(build().state_dict(), path := tmp_path / "it.pth")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(KdbenchError, match=r"Cannot read it\.pth"):
        read_state(path, "it.pth")


def test_a_pickle_runs_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"model": Evil()}, path := tmp_path / "it.pth")
    with pytest.raises(KdbenchError):
        read_state(path, "it.pth")
    assert not (tmp_path / "ran").exists()
