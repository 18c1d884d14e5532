"""Networks for the `digits` suite: 8 x 8 grey images, a thousand to a hundred thousand parameters."""

from __future__ import annotations

from typing import Any

from timm.models._builder import build_model_with_cfg
from timm.models._registry import generate_default_cfgs, register_model
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer

from kdbench.models.base import create
from kdbench.models.convnet import ConvNet
from kdbench.models.resnet import CifarResNet

SMALL = dict(input_size=(1, 8, 8), num_classes=10)
default_cfgs = generate_default_cfgs(
    {
        "digits_resnet8": dict(first_conv="conv1", classifier="fc", **SMALL),
        "digits_resnet8_w12": dict(first_conv="conv1", classifier="fc", **SMALL),
        "digits_resnet8_w8": dict(first_conv="conv1", classifier="fc", **SMALL),
        "digits_resnet8_w4": dict(first_conv="conv1", classifier="fc", **SMALL),
        "digits_resnet8_w2": dict(first_conv="conv1", classifier="fc", **SMALL),
        "digits_convnet": dict(first_conv="layer1.0", classifier="fc", **SMALL),
        "digits_vit": dict(first_conv="patch_embed.proj", classifier="head", **SMALL),
        "digits_vit_w48": dict(first_conv="patch_embed.proj", classifier="head", **SMALL),
        "digits_vit_w32": dict(first_conv="patch_embed.proj", classifier="head", **SMALL),
        "digits_vit_w16": dict(first_conv="patch_embed.proj", classifier="head", **SMALL),
        "digits_vit_w16_distilled": dict(first_conv="patch_embed.proj", classifier=("head", "head_dist"), **SMALL),
    }
)


@register_model
def digits_resnet8(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-8 at full width, 16/32/64."""
    return create(CifarResNet, "digits_resnet8", pretrained, **{"blocks": 1, **kwargs})


@register_model
def digits_resnet8_w12(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-8 at three quarters of the width, 12/24/48."""
    return create(CifarResNet, "digits_resnet8_w12", pretrained, **{"blocks": 1, "widths": (12, 12, 24, 48), **kwargs})


@register_model
def digits_resnet8_w8(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-8 at half the width, 8/16/32."""
    return create(CifarResNet, "digits_resnet8_w8", pretrained, **{"blocks": 1, "widths": (8, 8, 16, 32), **kwargs})


@register_model
def digits_resnet8_w4(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-8 at a quarter of the width, 4/8/16."""
    return create(CifarResNet, "digits_resnet8_w4", pretrained, **{"blocks": 1, "widths": (4, 4, 8, 16), **kwargs})


@register_model
def digits_resnet8_w2(pretrained: bool = False, **kwargs: Any) -> CifarResNet:
    """ResNet-8 at an eighth of the width, 2/4/8."""
    return create(CifarResNet, "digits_resnet8_w2", pretrained, **{"blocks": 1, "widths": (2, 2, 4, 8), **kwargs})


@register_model
def digits_convnet(pretrained: bool = False, **kwargs: Any) -> ConvNet:
    """ConvNet of dataset distillation: two blocks of 32 channels."""
    return create(ConvNet, "digits_convnet", pretrained, **{"depth": 2, "width": 32, "img_size": 8, **kwargs})


@register_model
def digits_vit(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """ViT with 4 x 4 patches: four tokens of width 64, four blocks, average pooling."""
    return create_digits_vit("digits_vit", pretrained, **{"embed_dim": 64, "depth": 4, "num_heads": 4, **kwargs})


@register_model
def digits_vit_w48(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """ViT with 4 x 4 patches: four tokens of width 48, four blocks, average pooling."""
    return create_digits_vit("digits_vit_w48", pretrained, **{"embed_dim": 48, "depth": 4, "num_heads": 4, **kwargs})


@register_model
def digits_vit_w32(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """ViT with 4 x 4 patches: four tokens of width 32, four blocks, average pooling."""
    return create_digits_vit("digits_vit_w32", pretrained, **{"embed_dim": 32, "depth": 4, "num_heads": 4, **kwargs})


@register_model
def digits_vit_w16(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """ViT with 4 x 4 patches: four tokens of width 16, four blocks, average pooling."""
    return create_digits_vit("digits_vit_w16", pretrained, **{"embed_dim": 16, "depth": 4, "num_heads": 2, **kwargs})


@register_model
def digits_vit_w16_distilled(pretrained: bool = False, **kwargs: Any) -> VisionTransformerDistilled:
    """ViT with 4 x 4 patches: four tokens of width 16 beside a class and a distillation token, four blocks."""
    defaults = dict(img_size=8, patch_size=4, embed_dim=16, depth=4, num_heads=2, mlp_ratio=2.0, weight_init="jax")
    return build_model_with_cfg(VisionTransformerDistilled, "digits_vit_w16_distilled", pretrained, **defaults | kwargs)


def create_digits_vit(variant: str, pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    # Xavier ("jax") weights: timm's default of 0.02 starts too small for a thousand images and plain SGD.
    defaults = dict(img_size=8, patch_size=4, mlp_ratio=2.0, class_token=False, global_pool="avg", weight_init="jax")
    return build_model_with_cfg(VisionTransformer, variant, pretrained, **defaults | kwargs)
