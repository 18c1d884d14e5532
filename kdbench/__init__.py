"""kdbench: the benchmark for knowledge distillation.

The names below are the plugin API, which `kdbench.method` documents, and what Python code calls, which `kdbench.api`
does. They load on first use, so that importing
`kdbench.records.record` or `kdbench.records.stats` imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdbench.api import Compared as Compared
    from kdbench.api import compare as compare
    from kdbench.api import load_class_results as load_class_results
    from kdbench.api import load_results as load_results
    from kdbench.api import run as run
    from kdbench.dataset_method import DatasetMethod as DatasetMethod
    from kdbench.errors import KdbenchError as KdbenchError
    from kdbench.method import Batch as Batch
    from kdbench.method import Field as Field
    from kdbench.method import Method as Method
    from kdbench.method import NotApplicable as NotApplicable
    from kdbench.method import Outputs as Outputs
    from kdbench.method import Paper as Paper
    from kdbench.method import Read as Read
    from kdbench.method import Setup as Setup
    from kdbench.method import Shapes as Shapes
    from kdbench.method import Stage as Stage
    from kdbench.networks.own import Adam as Adam
    from kdbench.networks.own import OwnNetwork as OwnNetwork
    from kdbench.networks.own import OwnNetworks as OwnNetworks

__version__ = "0.1.0"
METHOD = ("Batch", "Field", "Method", "NotApplicable", "Outputs", "Paper", "Read", "Setup", "Shapes", "Stage")
OWN = ("Adam", "OwnNetwork", "OwnNetworks")
PLUGIN_API = (*METHOD, "DatasetMethod", *OWN)
API = ("Compared", "compare", "load_class_results", "load_results", "run")
__all__ = ["KdbenchError", *PLUGIN_API, *API]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in METHOD:
        from kdbench import method

        return getattr(method, name)
    if name == "DatasetMethod":
        from kdbench.dataset_method import DatasetMethod

        return DatasetMethod
    if name in OWN:
        from kdbench.networks import own

        return getattr(own, name)
    if name in API:
        from kdbench import api

        return getattr(api, name)
    if name == "KdbenchError":
        from kdbench.errors import KdbenchError

        return KdbenchError
    raise AttributeError(f"module 'kdbench' has no attribute '{name}'")
