"""What makes a training repeatable: seeded draws, no hidden state, an exact continuation."""

from __future__ import annotations

import copy
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdbench.checks.bench import Bench, batches, evaluate, fail_if, first_difference, state
from kdbench.training.contract import check_state
from kdbench.training.trainer import Trainer


def draws_from_its_generator(bench: Bench) -> None:
    """The loss draws from `setup.generator` alone, never from a global generator."""
    sources: dict[str, Callable[[], bytes]] = {
        "PyTorch's": lambda: torch.get_rng_state().numpy().tobytes(),
        "numpy's": lambda: repr(np.random.get_state()).encode(),
        "Python's": lambda: repr(random.getstate()).encode(),
    }

    def around(run: Callable[[], Any]) -> Any:
        before = {name: read() for name, read in sources.items()}
        result = run()
        for name, read in sources.items():
            fail_if(
                read() != before[name],
                f"the step draws from {name} global generator, which shifts the draws of the student: "
                "use torch.rand(..., generator=setup.generator, device=...).",
            )
        return result

    trainer = bench.trainer()
    for batch in batches(trainer):
        evaluate(trainer, batch, around)


def repeats_itself(bench: Bench) -> None:
    """Two trainings from the same seed are bit-equal, whatever was drawn before and whenever they run."""
    ends: list[tuple[dict[str, list[float]], dict[str, Tensor]]] = []
    for disturb in range(2):
        torch.rand(1 + disturb), np.random.rand(1 + disturb), random.random()  # noqa: S311
        trainer = bench.trainer()
        curve = bench.train(trainer)
        ends.append((curve, state(trainer)))
    different = first_difference(ends[0][1], ends[1][1])
    fail_if(
        different is not None or ends[0][0] != ends[1][0],
        f"two trainings from the same seed differ (in {different or 'their curves'}): "
        "is something drawn without setup.generator, or read from a clock or a global?",
    )


def goes_on_where_it_stopped(bench: Bench) -> None:
    """A training that is restored from a checkpoint ends bit-equal to one that was never interrupted."""
    whole, cut = bench.trainer(), bench.trainer()
    for trainer in (whole, cut):
        trainer.next_epoch()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        cut.save(path)
        rest = bench.trainer()
        rest.restore(path)
    for trainer in (whole, rest):
        while trainer.epochs_done < trainer.epochs:
            trainer.next_epoch()
    different = first_difference(state(whole), state(rest))
    fail_if(
        different is not None,
        f"after an interruption the training goes another way ('{different}' differs): keep whatever changes in "
        "buffers (self.register_buffer) and modules.",
    )


def keeps_state_in_buffers(bench: Bench) -> None:
    """No attribute changes from step to step but buffers and parameters, and these in place."""
    trainer = bench.trainer()
    trainer.optimizer.zero_grad(set_to_none=True)
    method, start = trainer.method, snapshot(trainer)
    where = {name: tensor.data_ptr() for name, tensor in named_tensors(trainer)}
    for batch in batches(trainer):
        trainer.step(batch)
        check_state(method, trainer.generator, trainer.student)
        for name, tensor in named_tensors(trainer):
            fail_if(name not in where, f"'{name}' is made in loss, after the optimizer: make it in build.")
            fail_if(
                where[name] != tensor.data_ptr(),
                f"'{name}' is replaced by another tensor: change it in place (self.{name}.copy_(...)), since a "
                "captured step goes on reading the old one.",
            )
        now = snapshot(trainer)
        changed = [name for name in now if name not in start or now[name] != start[name]]
        fail_if(
            bool(changed),
            f"attribute '{(changed or [''])[0]}' changes while training, is lost when a run is interrupted and frozen "
            "in a captured step: use a buffer, or batch.step and batch.epoch.",
        )


def named_tensors(trainer: Trainer) -> list[tuple[str, Tensor]]:
    return [*trainer.method.named_parameters(), *trainer.method.named_buffers()]


def snapshot(trainer: Trainer) -> dict[str, Any]:
    """Plain attributes of the method, of its modules and of its class, comparable with ==."""
    found: dict[str, Any] = {}
    for prefix, module in trainer.method.named_modules():
        own = {**vars(type(module)), **vars(module)} if module is trainer.method else vars(module)
        for name, value in own.items():
            if name.startswith("__") or name in ("_parameters", "_buffers", "_modules", "params", "_abc_impl"):
                continue
            if isinstance(value, int | float | str | bool | list | dict | set | tuple | None) and plain(value):
                found[f"{prefix}.{name}".lstrip(".")] = copy.deepcopy(value)
    return found


def plain(value: Any) -> bool:
    """Whether a value holds nothing but numbers and text."""
    if isinstance(value, dict):
        return all(plain(v) for v in (*value.keys(), *value.values()))
    if isinstance(value, list | tuple | set):
        return all(map(plain, value))
    return value is None or isinstance(value, int | float | str | bool)
