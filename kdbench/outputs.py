"""Outputs of any timm model through timm's own interfaces, and which feature maps of two networks belong together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kdbench.errors import NotApplicable
from kdbench.method import Outputs, Shapes

Network = Any  # a timm model: its interfaces beyond nn.Module's are not typed


@dataclass(frozen=True)
class FeatureMap:
    """One map that a model offers.

    Attributes:
        index: its position among the outputs of `forward_intermediates`.
        name: the module that makes it.
        shape: (C, H, W).
        stride: height of the network's input over height of the map.
        depth: relative depth among the model's chosen maps, above 0 to 1.
    """

    index: int
    name: str
    shape: tuple[int, int, int]
    stride: float
    depth: float

    def __str__(self) -> str:
        return f"{self.name} ({'x'.join(map(str, self.shape))})"


@torch.no_grad()
def feature_maps(model: Network, example: Tensor) -> list[FeatureMap]:
    """The maps of a model: the last of each distinct stride; for isotropic networks those at 1/4 ... 4/4 of the depth.

    Args:
        example: (1, C, H, W) input.
    """
    training = model.training
    _, maps = model.eval().forward_intermediates(example)
    model.train(training)
    strides = [example.shape[-2] / m.shape[-2] for m in maps]
    if len(set(strides)) > 1:
        last_of_stride = {stride: i for i, stride in enumerate(strides)}
        chosen = sorted(last_of_stride.values())
    else:
        chosen = sorted({-(-len(maps) * quarter // 4) - 1 for quarter in (1, 2, 3, 4)})
    info = list(model.feature_info)
    names = [entry["module"] for entry in info] if len(info) == len(maps) else [f"map {i}" for i in range(len(maps))]
    return [
        FeatureMap(i, names[i], chw(maps[i]), strides[i], (position + 1) / len(chosen))
        for position, i in enumerate(chosen)
    ]


def chw(feature: Tensor) -> tuple[int, int, int]:
    _, channels, height, width = feature.shape
    return channels, height, width


def match_maps(student: list[FeatureMap], teacher: list[FeatureMap]) -> list[tuple[FeatureMap, FeatureMap]]:
    """Pairs of maps, shallow to deep: by stride where both networks are hierarchical, else by relative depth.

    Raises:
        NotApplicable: no map of one network belongs to a map of the other.
    """
    hierarchical = all(len({m.stride for m in maps}) > 1 for maps in (student, teacher))
    if hierarchical:
        by_stride = {m.stride: m for m in teacher}
        pairs = [(s, by_stride[s.stride]) for s in student if s.stride in by_stride]
    elif len(student) <= len(teacher):
        pairs = [(s, nearest(s, teacher)) for s in student]
    else:
        pairs = [(nearest(t, student), t) for t in teacher]
    if not pairs:
        offered = " and ".join(
            f"{role} offers strides {', '.join(f'{m.stride:g}' for m in maps)}"
            for role, maps in (("student", student), ("teacher", teacher))
        )
        raise NotApplicable(f"no feature maps can be paired: {offered}")
    return pairs


def nearest(wanted: FeatureMap, maps: list[FeatureMap]) -> FeatureMap:
    """The map at the nearest relative depth, the deeper of two equally near ones."""
    return min(reversed(maps), key=lambda m: abs(m.depth - wanted.depth))


class OutputReader:
    """Runs a network and bundles the outputs that a method requires; nothing else is computed.

    Args:
        wanted: names of outputs: logits, embedding, features.
        maps: which feature maps, shallow to deep.
    """

    def __init__(self, role: str, model: Network, wanted: Iterable[str], maps: Iterable[FeatureMap] = ()) -> None:
        self.role, self.model, self.wanted = role, model, frozenset(wanted)
        self.indices = [m.index for m in maps]

    def __call__(self, images: Tensor) -> Outputs:
        """Outputs of a batch (B, C, H, W), in float32."""
        features = embedding = logits = None
        if "features" in self.wanted:
            indices = sorted(set(self.indices))
            final, maps = self.model.forward_intermediates(images, indices=indices)
            features = [maps[indices.index(i)].float() for i in self.indices]
        else:
            final = self.model.forward_features(images)
        if "embedding" in self.wanted:
            embedding = self.model.forward_head(final, pre_logits=True).float()
        if "logits" in self.wanted:
            logits = self.model.forward_head(final).float()
        return Outputs(self.role, logits=logits, embedding=embedding, features=features)

    @torch.no_grad()
    def shapes(self, example: Tensor) -> Shapes:
        """Shapes of the wanted outputs for a (1, C, H, W) input."""
        training = self.model.training
        self.model.eval()
        outputs = self(example)
        self.model.train(training)
        return Shapes(
            self.role,
            embedding=outputs.embedding.shape[1] if "embedding" in self.wanted else None,
            features=tuple(chw(f) for f in outputs.features) if "features" in self.wanted else None,
        )
