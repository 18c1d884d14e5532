"""Networks of the hub by timm's own loading code, without a network: from a cache of the hub's that lies here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models import save_for_hf
from torch import nn

import kdbench.models  # noqa: F401  (registers the networks)
from kdbench.errors import KdbenchError
from kdbench.networks.build import build_network
from kdbench.records.keys import cell_key
from kdbench.running.plan import Cell
from kdbench.running.readers import build_networks
from kdbench.suite import Suite
from kdbench.tables import Model, Pair
from kdbench_methods.vanilla import Vanilla

Push = Callable[..., nn.Module]


@pytest.fixture
def push(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Push:
    """Puts a network into the hub's cache, as timm writes it for the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    def put(repository: str, name: str, **arguments: Any) -> nn.Module:
        torch.manual_seed(5)
        network = timm.create_model(name, **arguments)
        place = tmp_path / f"models--{repository.replace('/', '--')}"
        (place / "refs").mkdir(parents=True)
        (place / "refs" / "main").write_text("0" * 40)
        save_for_hf(network, place / "snapshots" / ("0" * 40), model_args=arguments.get("model_args"))
        return network

    return put


def with_hub(digits: Suite, **update: object) -> Suite:
    models = {"large": Model(name="hf-hub:me/tuned"), "small": Model(name="hf-hub:me/tuned")}
    pairs = (Pair(teacher="large", student="small"),)
    return digits.model_copy(update={"models": models, "pairs": pairs, **update})


def test_weights_of_the_hub_are_a_teachers(digits: Suite, push: Push) -> None:
    saved = push("me/tuned", "digits_resnet8_w4", num_classes=10, in_chans=1)
    suite = with_hub(digits, teachers="pretrained")
    network = build_network(suite, "large", seed=0, pretrained=True)
    state = network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in saved.state_dict().items())
    fresh = build_network(suite, "large", seed=0).state_dict()  # the architecture alone
    assert not torch.equal(fresh["conv1.weight"], state["conv1.weight"])


def test_a_teacher_for_other_classes_is_refused(digits: Suite, push: Push) -> None:
    push("me/tuned", "digits_resnet8_w4", num_classes=7, in_chans=1)
    with pytest.raises(KdbenchError, match=r"the weights of 'hf-hub:me/tuned' are for 7 classes, and the data have 10"):
        build_network(with_hub(digits, teachers="pretrained"), "large", pretrained=True)


def test_what_the_hub_does_not_have_is_one_line(digits: Suite, push: Push) -> None:
    for pretrained in (False, True):
        with pytest.raises(KdbenchError, match="the weights of 'hf-hub:me/tuned' cannot be fetched by timm") as caught:
            build_network(with_hub(digits), "large", pretrained=pretrained)
        assert "\n" not in str(caught.value)


def test_pretrained_students_are_a_protocol_of_their_own_and_get_a_classifier_for_the_data(
    digits: Suite, push: Push
) -> None:
    saved = push("me/tuned", "digits_resnet8_w4", num_classes=7, in_chans=1).state_dict()
    fresh, suite = with_hub(digits), with_hub(digits, students="pretrained")
    assert suite.fingerprint != fresh.fingerprint
    assert "students" not in fresh.protocol()
    assert suite.teacher_protocol() == fresh.teacher_protocol()
    assert cell_key(suite, "small", 0, "kd", 1, {}, []) != cell_key(fresh, "small", 0, "kd", 1, {}, [])

    def student(of: Suite, seed: int) -> dict[str, torch.Tensor]:
        cell = Cell("cell", of, "vanilla", 1, "", student="small", seed=seed)
        state: dict[str, torch.Tensor] = build_networks(cell, Vanilla, []).student.state_dict()
        return state

    first, again, other = student(suite, 0), student(suite, 0), student(suite, 1)
    assert all(torch.equal(first[name], value) for name, value in saved.items() if not name.startswith("fc."))
    assert first["fc.weight"].shape == (10, 16)
    assert torch.equal(first["fc.weight"], again["fc.weight"])
    assert not torch.equal(first["fc.weight"], other["fc.weight"])
    assert not torch.equal(student(fresh, 0)["conv1.weight"], saved["conv1.weight"])
