"""Quantized distillation (Polino et al. 2018)."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.ao import quantization

from kdbench import Batch, Field, NotApplicable, Outputs, Paper, Read, Setup
from kdbench_methods.parts.with_kd import WithKD


class QuantizedKD(WithKD):
    """The student learns from its full-precision teacher with the rounding to 8 bits that it will be deployed with.

    L = ce_weight * CE(z_s, y) + kd_weight * T^2 * KL(softmax(z_t / T) || softmax(z_s / T))

    z_s is computed with rounded weights and activations, w -> scale * round(w / scale); the gradient passes as if there
    were no rounding, but for activations beyond their range, and moves the unrounded weights. Convolutions and linear
    layers are rounded: their weights to -64 ... 63 in steps of their largest magnitude, their inputs and outputs to
    0 ... 255 in steps of a range that follows the training batches. Norms, activations and attention stay in float. The
    rounded network is the one that is ranked; "int8" is PyTorch's conversion of it, whose layers compute on integers.

    As the authors' code (antspy/quantized_distillation, cnn_models/help_fun.py, commit bb500b7): weights 0.3 and 0.7,
    temperature 2, the gradient straight through the rounding. Different on purpose: KL is summed over the classes,
    where nn.KLDivLoss() averages over them too (value and gradient are equal at kd_weight / C); and the authors round
    weights alone, to 2 to 8 bits in buckets of 256, where integer arithmetic needs activations rounded
    too, and one scale for each tensor.
    """

    name, version = "quantized_kd", 1
    paper = Paper(
        "Model Compression via Distillation and Quantization",
        "Antonio Polino, Razvan Pascanu, Dan Alistarh",
        2018,
        "1802.05668",
    )
    scheme = "offline"
    knowledge = ("response",)
    families = ("quantized",)
    requires = frozenset({"student.logits", "teacher.logits", "student.network"})
    deviations = ("the student's weights and activations are rounded to 8 bits",)

    class Params(WithKD.Params):
        ce_weight: float = Field(0.3, ge=0, description="weight of the cross-entropy with the labels")
        kd_weight: float = Field(0.7, ge=0, description="weight of the divergence from the teacher")
        temperature: float = Field(2.0, gt=0, description="T, softens both distributions")

    def build(self, setup: Setup) -> None:
        learn_rounding(setup.student_network)
        try_conversion(setup.student_network, torch.zeros(1, *setup.image_shape))

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.ce_and_kd(batch, student, teacher)

    def networks(self, student: nn.Module, read: Read) -> Mapping[str, nn.Module]:
        return {"int8": Int8(student)}


class FakeQuantize(quantization.FusedMovingAvgObsFakeQuantize):
    """Rounds in float32, whatever the precision around it, and by the scale that its conversion will use."""

    def forward(self, values: Tensor) -> Tensor:
        return super().forward(values.float())

    def calculate_qparams(self, **_: Any) -> tuple[Tensor, Tensor]:
        return self.scale, self.zero_point


class FakeQuantizeActivations(FakeQuantize):
    """Rounds to a range that follows the training batches, and no others."""

    def train(self, mode: bool = True) -> Self:
        self.observer_enabled.fill_(mode)
        return super().train(mode)


ROUNDED = quantization.QConfig(
    # PyTorch's own constant, 0.01, is for trained networks: the ranges of one that learns from scratch outrun it.
    activation=FakeQuantizeActivations.with_args(
        quant_min=0, quant_max=255, dtype=torch.quint8, averaging_constant=0.1
    ),
    # Seven of their eight bits, since sums of two products of eight overflow on processors without VNNI.
    weight=FakeQuantize.with_args(
        quant_min=-64, quant_max=63, dtype=torch.qint8, qscheme=torch.per_tensor_symmetric, averaging_constant=1.0
    ),
)


def learn_rounding(network: nn.Module) -> None:
    """Make a network round its convolutions and linear layers, in place.

    Raises:
        NotApplicable: it has none of them.
    """
    layers = [m for m in network.modules() if type(m) is nn.Linear or is_plain_convolution(m)]
    if not layers:
        raise NotApplicable("the student has no convolution or linear layer that PyTorch can quantize")
    for layer in layers:
        layer.qconfig = ROUNDED  # type: ignore[assignment]  # how PyTorch is told
    with without_deprecation():
        quantization.add_quant_dequant(network)
        quantization.prepare_qat(network.train(), inplace=True)


def is_plain_convolution(module: nn.Module) -> bool:
    return type(module) is nn.Conv2d and module.padding_mode == "zeros"


@contextmanager
def without_deprecation() -> Iterator[None]:
    """Without PyTorch's advice to use another package, and that of the tensors that it stores integers in."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.ao.quantization is deprecated", DeprecationWarning)
        warnings.filterwarnings("ignore", "torch.quantize_per_tensor, .* are deprecated", UserWarning)
        yield


class Int8(nn.Module):
    """An integer copy of a network that learnt to round, from images to logits. It stays on the CPU.

    Attributes:
        size_bytes: of all that it stores; a weight of a rounded layer has one byte.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        with without_deprecation():
            self.network = quantization.convert(copy.deepcopy(network).cpu().eval(), inplace=True)
        self.size_bytes = sum(stored_bytes(value) for value in self.network.state_dict().values())

    def _apply(self, fn: object, recurse: bool = True) -> Self:
        return self

    def forward(self, images: Tensor) -> Tensor:
        own_input = getattr(self.network, "own_input", nn.Identity())
        with torch.autocast("cpu", enabled=False):
            return self.network(own_input(images.cpu().float())).to(images.device)


def try_conversion(network: nn.Module, images: Tensor) -> None:
    """Run an integer copy once.

    Raises:
        NotApplicable: it cannot be made or does not run, for instance where layers reach for each other's weights.
    """
    try:
        Int8(network)(images)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise NotApplicable(f"PyTorch makes no integer copy of the student: {said}") from error


def stored_bytes(value: object) -> int:
    """Of an entry of a state: a tensor, or a tuple of tensors."""
    if isinstance(value, tuple):
        return sum(map(stored_bytes, value))
    return value.numel() * value.element_size() if isinstance(value, Tensor) else 0
