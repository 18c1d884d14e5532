"""Networks of other packages: found by name, imported when one is asked for, keyed by their code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kdbench.commands.show_networks import show_models, show_names
from kdbench.console import open_console
from kdbench.errors import KdbenchError, NotApplicable
from kdbench.networks.build import build_network
from kdbench.networks.maps import feature_maps
from kdbench.networks.outputs import OutputReader
from kdbench.networks.packages import with_sources
from kdbench.running.plan import Cell
from kdbench.running.readers import build_networks
from kdbench.suite import Suite
from kdbench.tables import Model, Pair
from kdbench_methods.fitnets import FitNets
from kdbench_methods.kd import KD

Install = Callable[..., Path]
BARE = '''
from timm.models import register_model
from torch import nn


class Bare(nn.Module):
    """No more than PyTorch's interface, and the classifier by timm's name."""

    def __init__(self, num_classes, in_chans):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.LazyLinear(8))
        self.fc = nn.Linear(8, num_classes)

    def get_classifier(self):
        return self.fc

    def forward(self, x):
        return self.fc(self.body(x))


def {name}(pretrained=False, num_classes=10, in_chans=3, **kwargs):
    return Bare(num_classes, in_chans)


{name}.__module__ = __name__
register_model({name})
'''


def with_network(suite: Suite, name: str) -> Suite:
    models = {**suite.models, "own": Model(name=name)}
    return suite.model_copy(update={"models": models, "pairs": (Pair(teacher="resnet8", student="own"),)})


def source(name: str) -> str:
    return BARE.replace("{name}", name).replace("nn.LazyLinear(8)", "nn.Linear(in_chans * 64, 8)")


def test_a_packages_network_is_imported_when_a_suite_names_it(digits: Suite, install_plugin: Install) -> None:
    install_plugin("bare-nets", {"bare_one": "bare_one_nets"}, group="kdbench.models", bare_one_nets=source("bare_one"))
    assert "bare_one_nets" not in sys.modules
    network = build_network(with_network(digits, "bare_one"), "own")
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_a_network_without_timms_maps_is_not_applicable_for_methods_of_maps_and_fine_for_others(
    digits: Suite, install_plugin: Install
) -> None:
    install_plugin("bare-nets", {"bare_two": "bare_two_nets"}, group="kdbench.models", bare_two_nets=source("bare_two"))
    suite = with_network(digits, "bare_two")
    teacher = build_network(suite, "resnet8")
    cell = Cell("cell", suite, "kd", 1, "", student="own", seed=0)
    readers = build_networks(cell, KD, [teacher]).readers
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(readers["student"](images).logits, readers["student"].model(images))
    both = OutputReader("student", readers["student"].model, {"logits", "embedding"})(images)
    assert both.embedding.shape == (2, 8)
    with pytest.raises(NotApplicable, match="a Bare offers no feature maps: it lacks timm's method forward_intermed"):
        build_networks(cell, FitNets, [teacher])
    with pytest.raises(NotApplicable):
        feature_maps(readers["student"].model, images[:1])


def test_the_key_has_the_networks_code(digits: Suite, install_plugin: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install_plugin("bare-nets", {"bare_six": "bare_six_nets"}, group="kdbench.models", bare_six_nets=source("bare_six"))
    suite = with_network(digits, "bare_six")
    bound = with_sources(suite)
    assert bound.models["resnet8"] == suite.models["resnet8"]
    assert len(bound.models["own"].identity["source_sha256"]) == 64
    assert bound.models["own"].arguments == {}
    assert with_sources(digits) == digits


def test_what_is_wrong_with_a_package_is_one_line(digits: Suite, install_plugin: Install) -> None:
    install_plugin("one", {"twice_net": "a", "broken_net": "broken_nets"}, group="kdbench.models", broken_nets="1 / 0")
    install_plugin("two", {"twice_net": "b", "empty_net": "empty_nets"}, group="kdbench.models", empty_nets="")
    for name, said in (
        ("twice_net", "Network 'twice_net' is registered twice: twice_net .(one|two) 1.2, .. and twice_net"),
        ("broken_net", "Network broken_net .one 1.2, broken_nets. cannot be imported: ZeroDivisionError"),
        ("empty_net", "importing it registers no 'empty_net' with timm"),
        ("empty_nett", "timm has no model 'empty_nett'. Did you mean 'empty_net'?"),
    ):
        with pytest.raises(KdbenchError, match=said) as caught:
            build_network(with_network(digits, name), "own")
        assert "\n" not in str(caught.value)


def test_lists_show_the_package_without_importing_it(
    install_plugin: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install_plugin("bare-nets", {"bare_five": "bare_five_nets"}, group="kdbench.models", bare_five_nets="1 / 0")
    show_models("digits", open_console(True), True)
    rows = json.loads(capsys.readouterr().out)
    assert {"name": "", "timm": "bare_five", "package": "bare-nets 1.2"} in rows
    show_names("bare_f*", open_console(True), True)
    assert json.loads(capsys.readouterr().out) == [{"name": "bare_five", "package": "bare-nets 1.2"}]
