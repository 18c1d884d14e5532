"""What a record says of the machine and the software; no host, user or path names."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from kdbench.tables import Execution

SHARING = "KDBENCH_SHARING"  # processes that train at a time, in the environment of each
PACKAGES = ("kdbench", "torch", "timm", "numpy", "safetensors")


@functools.cache
def environment(device: torch.device, execution: Execution) -> dict[str, str]:
    """Library versions, hardware, how steps ran, and kdbench's commit."""
    found = dict(software()) | {
        "system": platform.system(),
        "machine": platform.machine(),
        "device": device.type,
        "cpu": cpu_name(),
    }
    if execution != "eager":
        found["execution"] = execution
    if device.type == "cuda":
        import torch

        found |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda or ""}
    return found


@functools.cache
def software() -> dict[str, str]:
    """Versions and kdbench's commit, as they were when this process first asked: those of what it has loaded."""
    found = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    if commit := git_commit():
        found["commit"] = commit
    return found


def cpu_name() -> str:
    """The processor's marketing name, where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def git_commit() -> str | None:
    """The commit of the source checkout, with '+changes' if it has any; None for an installed package."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        commit, changes = (
            subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, timeout=10, check=True).stdout
            for command in (
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no", "--", "*.py", "*.toml"],
            )
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.strip() + ("+changes" if changes.strip() else "")


def share_cores(processes: int) -> None:
    """This process is one of so many that train at a time: it and those that it starts use their part of the cores."""
    os.environ[SHARING] = str(processes)


def available_cores() -> int:
    """Cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get(SHARING, "1")))
