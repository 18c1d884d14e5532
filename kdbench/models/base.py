"""What kdbench's convolutional networks share: a chain of modules with timm's interfaces, and how it is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from timm.layers import create_classifier
from timm.models._builder import build_model_with_cfg
from timm.models._features import feature_take_indices
from timm.models._registry import generate_default_cfgs
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

CIFAR = dict(
    input_size=(3, 32, 32),
    num_classes=100,
    mean=(0.5071, 0.4867, 0.4408),
    std=(0.2675, 0.2565, 0.2761),
    crop_pct=1.0,
    classifier="fc",
)


class ChainNetwork(nn.Module):
    """A chain of modules, some of whose outputs are feature maps; then global pooling and a linear classifier.

    A subclass assigns its modules in the order in which they run (within a block: that of the authors' code, so that
    their weights load one after the other) and then calls `add_head`. Where the last stage ends before a batch norm,
    that norm is the module `norm` and its output is no feature map. The first map is the stem's, the others are those
    of the stages.
    """

    def add_head(
        self,
        maps: dict[str, tuple[int, int]],
        num_features: int,
        pre_activations: Mapping[str, str | None] | None = None,
        num_classes: int = 10,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
    ) -> None:
        """End the chain.

        Args:
            maps: the modules whose outputs are feature maps, with their channels and the stride from the input; the
                stem first.
            num_features: channels at the end of the chain.
            pre_activations: for each map, the activation whose input is the map before its last ReLU, as overhauled
                feature distillation and activation boundaries compare it; None of a linear map, which is its own.
            drop_rate: dropout before the classifier.
        """
        self.chain = [name for name, _ in self.named_children()]
        self.feature_info = [dict(num_chs=c, reduction=stride, module=name) for name, (c, stride) in maps.items()]
        self.feature_info[0]["stem"] = True
        self.pre_activations = pre_activations or {}
        self.num_classes, self.drop_rate = num_classes, drop_rate
        self.num_features = self.head_hidden_size = num_features
        self.grad_checkpointing = False
        self.global_pool, self.fc = create_classifier(num_features, num_classes, pool_type=global_pool)
        self.head_drop = nn.Dropout(drop_rate)

    def get_classifier(self) -> nn.Module:
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str = "avg") -> None:
        self.num_classes = num_classes
        self.global_pool, self.fc = create_classifier(self.num_features, num_classes, pool_type=global_pool)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute each stage again in the backward pass; its running statistics then see each batch twice."""
        self.grad_checkpointing = enable

    def run(self, name: str, x: Tensor) -> Tensor:
        """One module of the chain."""
        module = getattr(self, name)
        if self.grad_checkpointing and torch.is_grad_enabled() and isinstance(module, nn.Sequential):
            return checkpoint(module, x, use_reentrant=False)
        return module(x)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """timm's interface: the chosen maps from shallow to deep, after the features unless those are unwanted.

        Args:
            indices: which maps, or how many of the last ones.
            norm: take the last map after the final norm, where there is one.
            stop_early: run no further than the last chosen map.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"The maps of a {type(self).__name__} are NCHW.")
        take, last = feature_take_indices(len(self.feature_info), indices)
        names = [entry["module"] for entry in self.feature_info]
        if norm and "norm" in self.chain:
            names[-1] = "norm"
        wanted = {names[i] for i in take}
        maps = []
        for name in self.chain:
            x = self.run(name, x)
            if name in wanted:
                maps.append(x)
            if stop_early and name == names[last]:
                break
        return maps if intermediates_only else (x, maps)

    def forward_features(self, x: Tensor) -> Tensor:
        for name in self.chain:
            x = self.run(name, x)
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.head_drop(self.global_pool(x))
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


Network = TypeVar("Network", bound=ChainNetwork)


def init_convolutions(network: nn.Module) -> None:
    """He et al.'s normal weights, by the fan out, and no biases."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def init_classifier(classifier: nn.Module, std: float | None = None) -> None:
    """No bias, and normal weights of this standard deviation instead of torch's uniform ones."""
    if isinstance(classifier, nn.Linear):
        nn.init.zeros_(classifier.bias)
        if std is not None:
            nn.init.normal_(classifier.weight, std=std)


def cifar_cfgs(first_conv: str, *names: str) -> dict[str, Any]:
    """timm's default configurations of networks for 3 x 32 x 32 images and 100 classes."""
    return generate_default_cfgs({name: dict(first_conv=first_conv, **CIFAR) for name in names})


def create(cls: type[Network], variant: str, pretrained: bool, **kwargs: Any) -> Network:
    """Build through timm's builder, so that its arguments (`num_classes`, `in_chans`, `features_only`, ...) work."""
    return build_model_with_cfg(cls, variant, pretrained, feature_cfg=dict(out_indices=4), **kwargs)
