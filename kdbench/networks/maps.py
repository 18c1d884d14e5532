"""The feature maps of any timm model through timm's own interfaces, and which ones of two networks belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor

from kdbench.errors import KdbenchError, NotApplicable, first_line
from kdbench.networks.inputs import as_seen

Network = Any  # a timm model: its interfaces beyond nn.Module's are not typed
PairedBy = Literal["position", "depth"]
STAGES = 4  # of timm's hierarchical networks: a fifth level, at half the input's size, is the stem's


@dataclass(frozen=True)
class FeatureMap:
    """One map that a model offers.

    Attributes:
        index: its position among the outputs of `forward_intermediates`.
        name: the module that makes it.
        shape: (C, H, W).
        stride: height of the network's own input over height of the map.
        depth: relative depth among the model's stages, above 0 to 1; 0 of a stem.
    """

    index: int
    name: str
    shape: tuple[int, int, int]
    stride: float
    depth: float

    def __str__(self) -> str:
        return f"{self.name} ({'x'.join(map(str, self.shape))})"


def feature_maps(model: Network, example: Tensor) -> list[FeatureMap]:
    """The maps of a model's stages, shallow to deep.

    A model may say which map is its stem's, by "stem": True in that map's entry of `feature_info`; its other maps are
    the stages. Of one that does not, as timm's do not, they are the last map of each reduction, at most the last four,
    since what is finer is the stem's; of isotropic networks the maps at 1/4 ... 4/4 of the depth.

    Args:
        example: (1, C, H, W) input.

    Raises:
        KdbenchError: the model does not take images of this size.
        NotApplicable: it lacks timm's method that gives maps.
    """
    return [m for m in all_maps(model, example) if m.depth > 0]


def stem_maps(model: Network, example: Tensor) -> list[FeatureMap]:
    """The map of a model's stem, the one before its first stage, in a list that is empty where it offers none.

    Args, Raises: as of `feature_maps`.
    """
    return [m for m in all_maps(model, example) if m.depth == 0]


@torch.no_grad()
def all_maps(model: Network, example: Tensor) -> list[FeatureMap]:
    """The map of the stem, if there is one, and those of the stages."""
    if not hasattr(model, "forward_intermediates"):
        kind = type(model).__name__
        raise NotApplicable(f"a {kind} offers no feature maps: it lacks timm's method forward_intermediates")
    training = model.training
    example = as_seen(model, example)
    try:
        _, maps = model.eval().forward_intermediates(example)
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        raise wrong_size(model, example, error) from error
    model.train(training)
    info = list(model.feature_info)
    if len(info) != len(maps):
        info = [dict(module=f"map {i}", reduction=example.shape[-2] / m.shape[-2]) for i, m in enumerate(maps)]
    stem, stages = stem_and_stages(info)
    depths = dict.fromkeys(stem, 0.0) | {index: (n + 1) / len(stages) for n, index in enumerate(stages)}
    return [
        FeatureMap(i, info[i]["module"], chw(maps[i]), example.shape[-2] / maps[i].shape[-2], depth)
        for i, depth in depths.items()
    ]


def stem_and_stages(info: list[dict[str, Any]]) -> tuple[list[int], list[int]]:
    """Which of the maps that `feature_info` describes is the stem's, if one is, and which are those of the stages."""
    if stem := [i for i, entry in enumerate(info) if entry.get("stem")]:
        return stem, [i for i in range(len(info)) if i not in stem]
    last_of_reduction = sorted({entry["reduction"]: i for i, entry in enumerate(info)}.values())
    if len(last_of_reduction) > 1:
        return last_of_reduction[:-STAGES][-1:], last_of_reduction[-STAGES:]
    return [], sorted({-(-len(info) * n // STAGES) - 1 for n in range(1, STAGES + 1)})


def pre_activations(model: Network) -> Mapping[str, str | None]:
    """For each map that a model declares, the activation whose input is the map before it; None of a linear map.

    timm's ResNets, which declare none, end each stage in the last activation of its last block.
    """
    is_resnet = isinstance(model, ResNet)
    if is_resnet and (last := {BasicBlock: "act2", Bottleneck: "act3"}.get(type(model.layer4[-1]))):
        names = [entry["module"] for entry in list(model.feature_info)[1:]]
        return {name: f"{name}.{len(model.get_submodule(name)) - 1}.{last}" for name in names}
    declared: Mapping[str, str | None] = getattr(model, "pre_activations", {})
    return declared


def chw(feature: Tensor) -> tuple[int, int, int]:
    _, channels, height, width = feature.shape
    return channels, height, width


def match_maps(
    student: list[FeatureMap], teacher: list[FeatureMap], names: tuple[str, str] = ("student", "teacher")
) -> list[tuple[FeatureMap, FeatureMap]]:
    """Pairs of two networks' stages, shallow to deep, the last with the last.

    By position where both have equally many, as the literature's code has it (RepDistiller's `feat[1:-1]`); else each
    stage of the network that has fewer faces the one at the nearest relative depth.

    Args:
        names: of the student and the teacher, for the message.

    Raises:
        NotApplicable: one of the networks offers fewer than two maps; says what each offers.
    """
    if min(len(student), len(teacher)) < 2:
        offers = [
            f"{name} offers {', '.join(map(str, maps)) or 'none'}"
            for name, maps in zip(names, (student, teacher), strict=True)
        ]
        raise NotApplicable(f"no feature maps can be paired, since each network needs two: {'; '.join(offers)}")
    if paired_by(student, teacher) == "position":
        return list(zip(student, teacher, strict=True))
    if len(student) < len(teacher):
        return [(s, nearest(s, teacher)) for s in student]
    return [(nearest(t, student), t) for t in teacher]


def paired_by(student: list[FeatureMap], teacher: list[FeatureMap]) -> PairedBy:
    """How `match_maps` pairs these maps."""
    return "position" if len(student) == len(teacher) else "depth"


def nearest(wanted: FeatureMap, maps: list[FeatureMap]) -> FeatureMap:
    """The map at the nearest relative depth, the deeper of two equally near ones."""
    return min(reversed(maps), key=lambda m: abs(m.depth - wanted.depth))


def wrong_size(model: Network, example: Tensor, error: Exception) -> KdbenchError:
    """What to say of a model that fails on an input of this size."""
    size = "x".join(map(str, example.shape[1:]))
    return KdbenchError(
        f"A {type(model).__name__} does not take {size} images: {first_line(error)} "
        "(arguments such as img_size or patch_size may help, or an input_size of its own)."
    )
