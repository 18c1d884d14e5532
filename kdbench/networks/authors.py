"""Names that RepDistiller's and mdistiller's code gives the weights of the literature's networks, and kdbench's.

Their ResNets of depth 6n + 2 have kdbench's names. Sources: HobbitLong/RepDistiller, models/, commit b84f547;
megvii-research/mdistiller, mdistiller/models/cifar/, commit a08d46f, whose networks are the former's.
"""

from __future__ import annotations

import re
from collections.abc import Callable

AUTHORS = "RepDistiller's or mdistiller's code"
Rename = Callable[[str], str]
BOTTLENECKS = {r"\.shortcut\.": ".downsample.", r"^linear\.": "fc."}
WIDE = {
    r"^block(\d)\.layer\.": r"layer\1.",
    r"\.bn(\d)\.": r".norm\1.",
    r"\.convShortcut\.": ".shortcut.",
    r"^bn1\.": "norm.",
}
MOBILE_STAGES = ((1, 0), (1, 1), (2, 0), (3, 0), (3, 4), (4, 0), (4, 3))  # stage and first block of each group
MOBILE_LAYERS = ("conv_pw", "bn1", "", "conv_dw", "bn2", "", "conv_pwl", "bn3")
MOBILE = {r"^(conv\d)\.0\.": r"\1.conv.", r"^(conv\d)\.1\.": r"\1.bn.", r"^classifier\.0\.": "fc."}
SHUFFLE = {
    r"^(layer\d\.\d\.)?conv(\d)\.": r"\1conv\2.conv.",
    r"^(layer\d\.\d\.)?bn(\d)\.": r"\1conv\2.bn.",
    r"^linear\.": "fc.",
}
DOWN_UNIT = {1: "short.0", 2: "short.1", 3: "branch.0", 4: "branch.1", 5: "branch.2"}


def authors_names(timm_name: str) -> Rename | None:
    """How the authors' names of a network's weights become kdbench's; None where they have no such network."""
    return next((rename for kind, rename in FAMILIES.items() if re.fullmatch(kind, timm_name)), None)


def by_patterns(patterns: dict[str, str]) -> Rename:
    """Each pattern that is in a name replaced, in their order."""

    def rename(name: str) -> str:
        for pattern, replacement in patterns.items():
            name = re.sub(pattern, replacement, name)
        return name

    return rename


def vgg(name: str) -> str:
    """Their stages end before the pooling, kdbench's from the second to the fourth begin with it."""
    if found := re.fullmatch(r"block([0-4])\.(\d+)\.(\w+)", name):
        block, layer = int(found[1]), int(found[2])
        return f"layer{block + 1}.{layer + (block in (1, 2, 3))}.{found[3]}"
    return re.sub(r"^classifier\.", "fc.", name)


def mobilenetv2(name: str) -> str:
    """Their groups of blocks of one width are parts of kdbench's stages of one resolution."""
    if found := re.fullmatch(r"blocks\.([0-6])\.(\d)\.conv\.([0-7])\.(\w+)", name):
        stage, first = MOBILE_STAGES[int(found[1])]
        return f"layer{stage}.{first + int(found[2])}.{MOBILE_LAYERS[int(found[3])]}.{found[4]}"
    return by_patterns(MOBILE)(name)


def shufflenetv2(name: str) -> str:
    """Their units number the convolutions of both branches through."""
    if found := re.fullmatch(r"(layer\d)\.(\d)\.(conv|bn)([1-5])\.(\w+)", name):
        stage, unit, kind, number, leaf = found.groups()
        of_unit = DOWN_UNIT[int(number)] if unit == "0" else f"branch.{int(number) - 1}"
        return f"{stage}.{unit}.{of_unit}.{kind}.{leaf}"
    return by_patterns(SHUFFLE)(name)


FAMILIES: dict[str, Rename] = {
    r"cifar_resnet(18|34|50)": by_patterns(BOTTLENECKS),
    r"cifar_wrn_\d+_\d+": by_patterns(WIDE),
    r"cifar_vgg\d+": vgg,
    "cifar_mobilenetv2": mobilenetv2,
    "cifar_shufflenetv1": by_patterns(SHUFFLE),
    "cifar_shufflenetv2": shufflenetv2,
}
