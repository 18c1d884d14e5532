"""Outputs of any timm model through timm's own interfaces."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.errors import NotApplicable
from kdbench.given import Outputs, Shapes
from kdbench.models.base import ChainNetwork
from kdbench.networks.attention import attention_of, split
from kdbench.networks.heads import check_class_maps, class_maps, two_heads
from kdbench.networks.inputs import as_seen
from kdbench.networks.maps import FeatureMap, Network, chw, pre_activations, wrong_size

MAPPED = frozenset({"features", "pre_activations", "stem", "attention"})


class OutputReader:
    """Runs a network and bundles the outputs that a method requires; nothing else is computed.

    Args:
        wanted: names of outputs: logits, embedding, features, pre_activations, stem, class_maps, head_logits,
            attention. With features beside pre_activations, a map whose pre-activation the model does not declare (a
            transformer's ends in no ReLU) stands for itself.
        maps: which feature maps, shallow to deep.
        stem: the map of the stem, or none.

    Attributes:
        runs: while they are counted, of each run how many images it had, and whether gradients go back through it.

    Raises:
        NotApplicable: pre-activations, without features, of a model that declares none; logits of the heads of one that
            has one; attention of blocks that have none.
    """

    def __init__(
        self,
        role: str,
        model: Network,
        wanted: Iterable[str],
        maps: Iterable[FeatureMap] = (),
        stem: Iterable[FeatureMap] = (),
    ) -> None:
        self.role, self.model, self.wanted = role, model, frozenset(wanted)
        self.is_whole = hasattr(model, "forward_features") and hasattr(model, "forward_head")  # as timm's networks are
        maps = list(maps)
        self.indices, self.stem = [m.index for m in maps], [m.index for m in stem]
        self.runs: list[tuple[int, bool]] | None = None
        self.caught: dict[str, Tensor] = {}  # inputs of modules, by what they are to the method
        if "embedding" in self.wanted:
            found = model.get_classifier()
            main = found[0] if isinstance(found, tuple) else found  # beside one for distillation
            heads = list(main) if isinstance(main, nn.ModuleList) else [main]  # of several branches
            self.heads = [f"head {i}" for i in range(len(heads))]
            for what, head in zip(self.heads, heads, strict=True):
                self.catch(what, head, as_vector)
        if "head_logits" in self.wanted:
            both = two_heads(role, model)
            self.said = [f"logits of head {i}" for i in range(len(both))]
            for what, head in zip(self.said, both, strict=True):
                self.catch_answer(what, head)
        if "attention" in self.wanted:
            blocks = [attention_of(role, model, m.name) for m in maps]
            self.attention_heads = [block.num_heads for block in blocks]
            for i, block in enumerate(blocks):
                self.catch_answer(f"attention {i}", block.qkv)
        if "pre_activations" in self.wanted:
            declared = pre_activations(model)
            missing = [m.name for m in maps if m.name not in declared]
            if missing and "features" not in self.wanted:
                kind = type(model).__name__
                raise NotApplicable(f"the {role}, a {kind}, declares no pre-activations of {', '.join(missing)}")
            for i, m in enumerate(maps):
                if module := declared.get(m.name):
                    self.catch(f"map {i}", model.get_submodule(module))

    def catch(
        self, what: str, module: nn.Module, kept: Callable[[nn.Module, Tensor], Tensor] = lambda _, value: value.clone()
    ) -> None:
        """Keep a module's input; by default cloned, since an activation may change it in place."""

        def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.caught[what] = kept(module, inputs[0])

        module.register_forward_pre_hook(keep)

    def catch_answer(self, what: str, module: nn.Module) -> None:
        """Keep what a module makes of its input."""

        def keep(module: nn.Module, inputs: tuple[Tensor, ...], answer: Tensor) -> None:
            self.caught[what] = answer

        module.register_forward_hook(keep)

    def __call__(self, images: Tensor) -> Outputs:
        """Outputs of a batch (B, C, H, W), in float32."""
        images = as_seen(self.model, images)
        maps: dict[int, Tensor] = {}
        final = images
        if self.wanted & MAPPED:
            indices = sorted({*self.indices, *self.stem})
            # The last map as well: some models run no further than the last one that they are asked for.
            final, found = self.model.forward_intermediates(images, indices=[*indices, -1])
            maps = dict(zip(indices, found, strict=False))
        elif self.is_whole:
            final = self.model.forward_features(images)
        return self.bundle(final if self.is_whole else images, maps, len(images))

    def from_map(self, position: int, feature: Tensor) -> Outputs:
        """The outputs if the map at a position, counted as in `features`, were this one (B, C, H, W).

        Of the maps those after it are given. What the network computes before it is counted as if it had run.

        Raises:
            NotApplicable: the network is no chain of modules, as kdbench's convolutional ones are.
        """
        if not isinstance(self.model, ChainNetwork):
            raise NotApplicable(f"a {type(self.model).__name__} cannot be run from one of its maps on")
        info: list[dict[str, Any]] = self.model.feature_info
        names = {entry["module"]: i for i, entry in enumerate(info)}
        module = info[self.indices[position]]["module"]
        maps: dict[int, Tensor] = {}
        for name in self.model.chain[self.model.chain.index(module) + 1 :]:
            feature = self.model.run(name, feature)
            if names.get(name) in self.indices:
                maps[names[name]] = feature
        return self.bundle(feature, maps, len(feature))

    def bundle(self, final: Tensor, maps: dict[int, Tensor], size: int) -> Outputs:
        """The wanted outputs for so many images, from the end of the features and the maps.

        Args:
            final: of a network that is not whole, the images.
        """
        values: dict[str, Any] = {}
        mine = [(n, maps[i]) for n, i in enumerate(self.indices) if i in maps]
        if "features" in self.wanted:
            values["features"] = [feature.float() for _, feature in mine]
        if self.wanted & {"logits", "embedding", "head_logits"}:
            logits = self.model.forward_head(final) if self.is_whole else self.model(final)
            if "logits" in self.wanted:  # several classifiers give a tuple while training
                values["logits"] = (torch.stack(logits).mean(dim=0) if isinstance(logits, tuple) else logits).float()
        if "embedding" in self.wanted:
            values["embedding"] = torch.cat([self.caught.pop(head).float() for head in self.heads], dim=1)
        if "head_logits" in self.wanted:
            values["head_logits"] = [self.caught.pop(what).float() for what in self.said]
        if "attention" in self.wanted:
            values["attention"] = [split(self.caught.pop(f"attention {n}")) for n, _ in mine]
        if "pre_activations" in self.wanted:
            values["pre_activations"] = [self.caught.pop(f"map {n}", feature).float() for n, feature in mine]
        if "stem" in self.wanted:
            values["stem"] = [maps[i].float() for i in self.stem if i in maps]
        if "class_maps" in self.wanted:
            values["class_maps"] = class_maps(self.model, final).float()
        if self.runs is not None:
            tensors = [t for value in values.values() for t in (value if isinstance(value, list) else [value])]
            self.runs.append((size, any(t.requires_grad for t in tensors)))
        return Outputs(self.role, **values)

    @torch.no_grad()
    def shapes(self, example: Tensor) -> Shapes:
        """Shapes of the wanted outputs for a (1, C, H, W) input.

        Raises:
            KdbenchError: the model does not take images of this size.
            NotApplicable: class maps of a model that has none.
        """
        training = self.model.training
        self.model.eval()
        try:
            if "class_maps" in self.wanted:
                check_class_maps(self.role, self.model, example)
            outputs = self(example)
        except (RuntimeError, ValueError, AssertionError) as error:
            raise wrong_size(self.model, as_seen(self.model, example), error) from error
        self.model.train(training)
        found = {w: shape_of(value) for w, value in outputs._values.items() if not w.endswith(("logits", "attention"))}
        if "attention" in self.wanted:
            tokens = zip(outputs.attention, self.attention_heads, strict=True)
            found["attention"] = tuple((value.shape[2], value.shape[3], heads) for value, heads in tokens)
        return Shapes(self.role, **found)


def shape_of(value: Tensor | list[Tensor]) -> Any:
    """D of a (B, D) output, (C, H, W) of a map, or of each map of a list."""
    if isinstance(value, Tensor):
        return chw(value) if value.ndim == 4 else value.shape[1]
    return tuple(map(chw, value))


def as_vector(classifier: nn.Module, value: Tensor) -> Tensor:
    """A classifier's input as (B, D): the mean over its positions or tokens, if it has any."""
    if isinstance(classifier, nn.Conv2d):
        return value.mean(dim=(2, 3))
    return value.flatten(1, -2).mean(dim=1) if value.ndim > 2 else value
