"""Outputs of any timm model through timm's own interfaces, and which feature maps of two networks belong together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kdbench.errors import KdbenchError, NotApplicable, first_line
from kdbench.given import Outputs, Shapes
from kdbench.networks.inputs import as_seen

Network = Any  # a timm model: its interfaces beyond nn.Module's are not typed


@dataclass(frozen=True)
class FeatureMap:
    """One map that a model offers.

    Attributes:
        index: its position among the outputs of `forward_intermediates`.
        name: the module that makes it.
        shape: (C, H, W).
        stride: height of the network's own input over height of the map.
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

    Raises:
        KdbenchError: the model does not take images of this size.
    """
    training = model.training
    example = as_seen(model, example)
    try:
        _, maps = model.eval().forward_intermediates(example)
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        raise wrong_size(model, example, error) from error
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


def wrong_size(model: Network, example: Tensor, error: Exception) -> KdbenchError:
    """What to say of a model that fails on an input of this size."""
    size = "x".join(map(str, example.shape[1:]))
    return KdbenchError(
        f"A {type(model).__name__} does not take {size} images: {first_line(error)} "
        "(arguments such as img_size or patch_size may help, or an input_size of its own)."
    )


def chw(feature: Tensor) -> tuple[int, int, int]:
    _, channels, height, width = feature.shape
    return channels, height, width


def match_maps(
    student: list[FeatureMap], teacher: list[FeatureMap], names: tuple[str, str] = ("student", "teacher")
) -> list[tuple[FeatureMap, FeatureMap]]:
    """Pairs of maps, shallow to deep: by stride where both networks are hierarchical, else by relative depth.

    Strides are compared by their nearest power of two, since unpadded convolutions make odd ones; where two
    hierarchical networks have none in common, depth decides as well.

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
    if pairs := of_equal_stride(student, teacher):
        return pairs
    if len(student) <= len(teacher):
        return [(s, nearest(s, teacher)) for s in student]
    return [(nearest(t, student), t) for t in teacher]


def paired_by(student: list[FeatureMap], teacher: list[FeatureMap]) -> Literal["stride", "depth"]:
    """How `match_maps` pairs these maps."""
    return "stride" if of_equal_stride(student, teacher) else "depth"


def of_equal_stride(student: list[FeatureMap], teacher: list[FeatureMap]) -> list[tuple[FeatureMap, FeatureMap]]:
    """Pairs of maps of the same stride of two hierarchical networks; none if one of them is isotropic."""
    if any(len({m.stride for m in maps}) < 2 for maps in (student, teacher)):
        return []
    by_octave = {octave(m): m for m in teacher}
    own = {octave(m): m for m in student}
    return [(s, by_octave[o]) for o, s in own.items() if o in by_octave]


def octave(feature: FeatureMap) -> int:
    """Logarithm of the nearest power of two to a map's stride."""
    return round(math.log2(feature.stride))


def nearest(wanted: FeatureMap, maps: list[FeatureMap]) -> FeatureMap:
    """The map at the nearest relative depth, the deeper of two equally near ones."""
    return min(reversed(maps), key=lambda m: abs(m.depth - wanted.depth))


class OutputReader:
    """Runs a network and bundles the outputs that a method requires; nothing else is computed.

    Args:
        wanted: names of outputs: logits, embedding, features, pre_activations. With both of the last, a map whose
            pre-activation the model does not declare (a transformer's ends in no ReLU) stands for itself.
        maps: which feature maps, shallow to deep.

    Attributes:
        runs: while they are counted, of each run how many images it had, and whether gradients go back through it.

    Raises:
        NotApplicable: pre-activations, without features, of a model that declares none.
    """

    def __init__(self, role: str, model: Network, wanted: Iterable[str], maps: Iterable[FeatureMap] = ()) -> None:
        self.role, self.model, self.wanted = role, model, frozenset(wanted)
        maps = list(maps)
        self.indices = [m.index for m in maps]
        self.runs: list[tuple[int, bool]] | None = None
        self.caught: dict[str, Tensor] = {}  # inputs of modules, by what they are to the method
        if "embedding" in self.wanted:
            found = model.get_classifier()
            main = found[0] if isinstance(found, tuple) else found  # beside one for distillation
            heads = list(main) if isinstance(main, nn.ModuleList) else [main]  # of several branches
            self.heads = [f"head {i}" for i in range(len(heads))]
            for what, head in zip(self.heads, heads, strict=True):
                self.catch(what, head, as_vector)
        if "pre_activations" in self.wanted:
            declared = getattr(model, "pre_activations", {})
            missing = [m.name for m in maps if m.name not in declared]
            if missing and "features" not in self.wanted:
                kind = type(model).__name__
                raise NotApplicable(f"the {role}, a {kind}, declares no pre-activations of {', '.join(missing)}")
            for i, m in enumerate(maps):
                if m.name in declared:
                    self.catch(f"map {i}", model.get_submodule(declared[m.name]))

    def catch(
        self, what: str, module: nn.Module, kept: Callable[[nn.Module, Tensor], Tensor] = lambda _, value: value.clone()
    ) -> None:
        """Keep a module's input; by default cloned, since an activation may change it in place."""

        def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.caught[what] = kept(module, inputs[0])

        module.register_forward_pre_hook(keep)

    def __call__(self, images: Tensor) -> Outputs:
        """Outputs of a batch (B, C, H, W), in float32."""
        images = as_seen(self.model, images)
        values: dict[str, Any] = {}
        if self.wanted & {"features", "pre_activations"}:
            indices = sorted(set(self.indices))
            # The last map as well: some models run no further than the last one that they are asked for.
            final, maps = self.model.forward_intermediates(images, indices=[*indices, -1])
            if "features" in self.wanted:
                values["features"] = [maps[indices.index(i)].float() for i in self.indices]
        else:
            final = self.model.forward_features(images)
        if self.wanted & {"logits", "embedding"}:
            logits = self.model.forward_head(final)
            if "logits" in self.wanted:  # several classifiers give a tuple while training
                values["logits"] = (torch.stack(logits).mean(dim=0) if isinstance(logits, tuple) else logits).float()
        if "embedding" in self.wanted:
            values["embedding"] = torch.cat([self.caught.pop(head).float() for head in self.heads], dim=1)
        if "pre_activations" in self.wanted:
            values["pre_activations"] = [
                self.caught.pop(f"map {i}").float() if f"map {i}" in self.caught else values["features"][i]
                for i in range(len(self.indices))
            ]
        if self.runs is not None:
            some = next(iter(values.values()))
            self.runs.append((len(images), (some[0] if isinstance(some, list) else some).requires_grad))
        return Outputs(self.role, **values)

    @torch.no_grad()
    def shapes(self, example: Tensor) -> Shapes:
        """Shapes of the wanted outputs for a (1, C, H, W) input.

        Raises:
            KdbenchError: the model does not take images of this size.
        """
        training = self.model.training
        self.model.eval()
        try:
            outputs = self(example)
        except (RuntimeError, ValueError, AssertionError) as error:
            raise wrong_size(self.model, as_seen(self.model, example), error) from error
        self.model.train(training)
        shapes = {
            what: value.shape[1] if isinstance(value, Tensor) else tuple(map(chw, value))
            for what, value in outputs._values.items()
            if what != "logits"
        }
        return Shapes(self.role, **shapes)


def as_vector(classifier: nn.Module, value: Tensor) -> Tensor:
    """A classifier's input as (B, D): the mean over its positions or tokens, if it has any."""
    if isinstance(classifier, nn.Conv2d):
        return value.mean(dim=(2, 3))
    return value.flatten(1, -2).mean(dim=1) if value.ndim > 2 else value
