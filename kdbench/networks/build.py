"""Building a suite's networks with timm, and counting them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg, load_model_config_from_hf
from torch import Tensor, nn

import kdbench.models  # noqa: F401  (registers kdbench's networks with timm)
from kdbench.errors import KdbenchError, did_you_mean, first_line
from kdbench.networks.flops import FlopCounter
from kdbench.networks.inputs import as_seen, own_input, seen_size
from kdbench.networks.maps import wrong_size
from kdbench.networks.packages import is_registered, list_networks
from kdbench.networks.processor import without_broken_kernels
from kdbench.suite import Suite
from kdbench.tables import Model

HUB = "hf-hub:"  # timm's prefix of models in the Hugging Face hub: their architecture and weights
UNKNOWN_WEIGHTS = "no key would know the weights that it leads to"
BUILDING = "it is how timm builds, not what"
NOT_ARGUMENTS = {  # of a suite's model, and why
    "num_classes": "data.num_classes says it",
    "in_chans": "data.channels says it",
    "pretrained": "teachers says it",
    "pretrained_cfg": UNKNOWN_WEIGHTS,
    "pretrained_cfg_overlay": UNKNOWN_WEIGHTS,
    "pretrained_filter_fn": UNKNOWN_WEIGHTS,
    "pretrained_strict": UNKNOWN_WEIGHTS,
    "checkpoint_path": UNKNOWN_WEIGHTS,
    "cache_dir": UNKNOWN_WEIGHTS,
    "features_only": "a suite's networks are classifiers",
    "scriptable": BUILDING,
    "exportable": BUILDING,
    "no_jit": BUILDING,
}


def build_network(suite: Suite, name: str, seed: int | None = None, pretrained: bool = False) -> nn.Module:
    """A network of the suite with fresh weights; the same for the same seed, whatever was drawn before.

    Args:
        pretrained: with timm's own weights instead.

    Raises:
        KdbenchError: the suite has no such model, timm does not know its name or does not take its arguments, or its
            weights cannot be fetched.
    """
    if name not in suite.models:
        raise KdbenchError(f"Suite '{suite.name}' has no model '{name}'.{did_you_mean(name, suite.models)}")
    spec = suite.models[name]
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        where = f"Suite '{suite.name}', models.{name}"
        is_student = any(pair.student == name for pair in suite.pairs)
        classes, channels = suite.data.num_classes, suite.data.channels
        network: Any = create(spec, where, classes, channels, pretrained, is_student and suite.students == "pretrained")
    if has_timms_weights(suite, name):
        spec = with_pretrained_input(spec, network.pretrained_cfg, suite.data.channels)
    network.own_input, network.suite_model = own_input(suite.data, spec), name
    without_broken_kernels(network, seen_size(network, suite.data))
    return network


def has_timms_weights(suite: Suite, name: str) -> bool:
    """Whether a network of the suite is a teacher or student that starts from timm's own weights."""
    teacher = suite.teachers == "pretrained" and name not in suite.weights
    return any(
        (teacher and pair.teacher == name) or (suite.students == "pretrained" and pair.student == name)
        for pair in suite.pairs
    )


def with_pretrained_input(spec: Model, cfg: Mapping[str, Any], channels: int) -> Model:
    """A model with the input size, mean and deviation that timm's weights were made for, where it says no others."""
    own: dict[str, Any] = {}
    if "img_size" not in spec.arguments:
        own["input_size"] = tuple(cfg["input_size"][1:])
    if len(cfg["mean"]) == channels:
        own |= {"mean": tuple(cfg["mean"]), "std": tuple(cfg["std"])}
    return spec.model_copy(update={key: value for key, value in own.items() if getattr(spec, key) is None})


def create(
    spec: Model, where: str, num_classes: int, channels: int, pretrained: bool = False, new_classifier: bool = False
) -> nn.Module:
    """timm's model with one line for what the suite's author got wrong.

    Args:
        new_classifier: weights for other classes will do, with a classifier of random weights.

    Raises:
        KdbenchError: an unknown name, arguments that it does not take, or weights that it does not have.
    """
    if not (spec.name.startswith(HUB) or is_registered(spec.name)):
        known = {*timm.list_models(), *list_networks()}
        raise KdbenchError(f"{where}: timm has no model '{spec.name}'.{did_you_mean(spec.name, known)}")
    for argument, why in NOT_ARGUMENTS.items():
        if argument in spec.arguments:
            raise KdbenchError(f"{where}: '{argument}' is no argument of a suite's model: {why}. Remove it.")
    arguments: dict[str, Any] = {"num_classes": num_classes, "in_chans": channels, **spec.arguments}
    try:
        if pretrained and not new_classifier:
            check_classes(spec.name, num_classes, where)
        network = timm.create_model(spec.name, pretrained=pretrained, **arguments)
    except OSError as error:
        said = first_line(error)
        raise KdbenchError(f"{where}: the weights of '{spec.name}' cannot be fetched by timm: {said}") from error
    except (TypeError, ValueError, AssertionError, RuntimeError, LookupError, ArithmeticError) as error:
        message = first_line(error)
        if found := re.search(r"unexpected keyword argument(?:\(s\): \[)? ?'(\w+)'", message):
            known = set(inspect.signature(type(timm.create_model(spec.name)).__init__).parameters) - {"self", "kwargs"}
            hint = did_you_mean(found[1], known)
            raise KdbenchError(f"{where}: '{spec.name}' takes no argument '{found[1]}'.{hint}") from error
        if found := re.search(r"multiple values for keyword argument '(\w+)'", message):
            said = f"'{spec.name}' sets '{found[1]}' itself and takes no other"
            raise KdbenchError(f"{where}: {said}. Remove it, or choose another model.") from error
        raise KdbenchError(f"{where}: timm cannot build '{spec.name}' with {spec.arguments}: {message}") from error
    if not hasattr(network, "get_classifier"):
        raise KdbenchError(f"{where}: '{spec.name}' has no classifier. Choose another model.")
    return network


def check_classes(name: str, num_classes: int, where: str) -> None:
    """Weights of timm's are for as many classes as the data have.

    Raises:
        KdbenchError: they are not.
    """
    if name.startswith(HUB):
        classes = load_model_config_from_hf(name.removeprefix(HUB))[0].get("num_classes", num_classes)
    else:
        weights = get_pretrained_cfg(name)
        classes = weights.num_classes if weights is not None and weights.has_weights else num_classes
    if classes != num_classes:
        raise KdbenchError(
            f"{where}: the weights of '{name}' are for {classes} classes, and the data have {num_classes} "
            "(data.num_classes). Choose other weights, or train the teachers."
        )


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def count_macs(model: nn.Module, example: Tensor) -> int:
    """Multiply-accumulate operations of one forward pass of a (1, C, H, W) input: half its counted FLOPs.

    Raises:
        KdbenchError: the model does not take images of this size.
    """
    training, seen = model.training, as_seen(model, example)
    try:
        with FlopCounter() as counter:
            model.eval()(seen)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise wrong_size(model, seen, error) from error
    model.train(training)
    return counter.flops // 2
