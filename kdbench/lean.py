"""timm, imported without PyTorch's compiler, which takes seconds a process that only plans, looks or evaluates.

torchvision asks the compiler one question, for regions of interest on a GPU, and timm excludes a few functions of one
network from compilation. A stand-in answers both while timm is imported; what trains or compiles imports the compiler
then, as always.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

ASKED = "torch._dynamo.utils"  # by torchvision/ops/roi_align.py


def is_compile_supported(device_type: str) -> bool:
    """What the compiler's own function says, once somebody asks."""
    return bool(importlib.import_module(ASKED).is_compile_supported(device_type))


def not_compiled(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Callable[..., Any]:
    """The mark by which the compiler leaves a function out (`torch._dynamo.skip`), without importing it."""
    if function is None:
        return not_compiled
    function.__dict__["_torchdynamo_disable"] = True
    return function


def import_timm() -> None:
    """Import timm, and torchvision with it; as usual, if the stand-in does not serve."""
    if "torchvision" in sys.modules or "torch._dynamo" in sys.modules:
        return
    compiler: Any = torch.compiler
    stand_in, disable = ModuleType(ASKED), compiler.disable
    stand_in.__dict__["is_compile_supported"] = is_compile_supported
    sys.modules[ASKED] = stand_in
    try:
        compiler.disable = not_compiled
        importlib.import_module("timm")
    except ImportError:  # of other versions, which ask for more: imported below as they want it
        for name in [name for name in sys.modules if name.partition(".")[0] in ("timm", "torchvision")]:
            del sys.modules[name]
    finally:
        compiler.disable = disable
        if sys.modules.get(ASKED) is stand_in:
            del sys.modules[ASKED]


import_timm()
