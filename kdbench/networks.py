"""Building a suite's networks with timm, and counting them."""

from __future__ import annotations

import inspect
import re
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import kdbench.models  # noqa: F401  (registers kdbench's networks with timm)
from kdbench.errors import KdbenchError, did_you_mean
from kdbench.inputs import as_seen, own_input
from kdbench.outputs import wrong_size
from kdbench.suite import Model, Suite


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
        network: Any = create(spec, where, suite.data.num_classes, suite.data.channels, pretrained)
    network.own_input, network.suite_model = own_input(suite.data, spec), name
    return network


def create(spec: Model, where: str, num_classes: int, channels: int, pretrained: bool = False) -> nn.Module:
    """timm's model with one line for what the suite's author got wrong."""
    if not timm.is_model(spec.name):
        raise KdbenchError(f"{where}: timm has no model '{spec.name}'.{did_you_mean(spec.name, timm.list_models())}")
    arguments: dict[str, Any] = {"num_classes": num_classes, "in_chans": channels, **spec.arguments}
    try:
        network = timm.create_model(spec.name, pretrained=pretrained, **arguments)
    except OSError as error:
        said = str(error).splitlines()[0]
        raise KdbenchError(f"{where}: the weights of '{spec.name}' cannot be fetched by timm: {said}") from error
    except (TypeError, ValueError, AssertionError, RuntimeError, LookupError, ArithmeticError) as error:
        message = (str(error).splitlines() or [type(error).__name__])[0]
        if found := re.search(r"unexpected keyword argument '(\w+)'", message):
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


def count_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def count_macs(model: nn.Module, example: Tensor) -> int:
    """Multiply-accumulate operations of one forward pass of a (1, C, H, W) input: convolutions and matrix products.

    Raises:
        KdbenchError: the model does not take images of this size.
    """
    training, seen = model.training, as_seen(model, example)
    try:
        with FlopCounterMode(display=False) as counter:
            model.eval()(seen)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise wrong_size(model, seen, error) from error
    model.train(training)
    return counter.get_total_flops() // 2
