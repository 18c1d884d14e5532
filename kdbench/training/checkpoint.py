"""Tensors and JSON in one safetensors file, written atomically and checked by hash. No pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from kdbench.errors import KdbenchError
from kdbench.files import write_atomically


def save_tensors(path: Path, tensors: Mapping[str, Tensor], state: Any = None) -> str:
    """Write tensors and a JSON value to `path`, all or nothing.

    Returns:
        SHA-256 of the file.
    """
    # Cloned, because safetensors refuses tensors that share memory.
    plain = {name: tensors[name].detach().cpu().contiguous().clone() for name in sorted(tensors)}
    text = json.dumps(state, sort_keys=True, allow_nan=False)
    # One key of metadata: safetensors writes several in no fixed order, and equal content must give equal files.
    about = json.dumps({"sha256": content_sha256(plain, text), "state": text})
    payload = save(plain, metadata={"kdbench": about})
    write_atomically(path, payload)
    return hashlib.sha256(payload).hexdigest()


def load_tensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Read what `save_tensors` wrote.

    Raises:
        KdbenchError: the file is unreadable or its content does not match its hash.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["kdbench"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
        intact = about["sha256"] == content_sha256(tensors, about["state"])
        state = json.loads(about["state"]) if intact else None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise KdbenchError(f"{path} is corrupt: {str(error).splitlines()[0]}.") from error
    if not intact:
        raise KdbenchError(f"{path} is corrupt: its content does not match its hash.")
    return tensors, state


def content_sha256(tensors: Mapping[str, Tensor], text: str) -> str:
    """Hash of names, dtypes, shapes and values, and of the JSON text."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
