"""What a step takes when a teacher's outputs come from a store, beside a live teacher.

    PYTHONPATH=. python benchmarks/stored_outputs.py --suite cifar100-quarter --pair resnet20:resnet8

One training of a method, on made-up images of the suite's size, takes turns between both; each time is the median over
the rounds, after a warm-up. What happens before an epoch is spread over its steps: filling the store, for the first
method of a seed, and reading from it, for all.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from statistics import median

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from kdbench.commands.request import parse_device, parse_pairs
from kdbench.plugins import load_method
from kdbench.running.plan import resolve_params
from kdbench.running.timing import Subject, random_dataset, time_steps, timed_trainer, wait_for
from kdbench.suites import load_suite
from kdbench.training.row_store import open_stores
from kdbench.training.stored_outputs import StoredOutputs
from kdbench.training.trainer import Trainer


def store_of(trainer: Trainer, num_classes: int) -> StoredOutputs:
    """An empty store of the teacher's logits."""
    rows, recipe = len(trainer.labels) * trainer.num_views, trainer.recipe
    dtype = np.dtype(np.float32 if recipe.precision == "float32" else np.int16)
    stores = open_stores({"logits": (num_classes, dtype)}, rows, "Logits", lambda text: None)
    assert stores is not None
    return StoredOutputs(
        trainer.readers["teacher"],
        stores,
        trainer.images,
        len(trainer.labels),
        trainer.num_views,
        recipe.batch_size,
        recipe.precision,
        trainer.device,
    )


def preparing(trainer: Trainer) -> float:
    """Seconds before the first epoch, by step."""
    wait_for(trainer.device)
    start = time.perf_counter()
    trainer.feed(0)
    wait_for(trainer.device)
    return (time.perf_counter() - start) / trainer.steps_per_epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--suite", default="cifar100-quarter")
    parser.add_argument("--pair", default="resnet20:resnet8")
    parser.add_argument("--method", default="kd")
    parser.add_argument("--steps", type=int, default=20, help="steps a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()

    suite, device = load_suite(options.suite), torch.device(parse_device(options.device)[0])
    [pair] = parse_pairs(suite, [options.pair])
    params = resolve_params(load_method(options.method), suite, pair, {})[0]
    subject = Subject(suite, pair, options.method, params, random_dataset(suite.data), device)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KDBENCH_CACHE"] = folder
        trainer = timed_trainer(subject)
        stored = store_of(trainer, suite.data.num_classes)
        time_steps(trainer, options.steps)
        live, read = [], []
        trainer.stored = stored
        filling = preparing(trainer)
        reading = preparing(trainer)
        for _ in range(options.rounds):
            for times, source in ((live, None), (read, stored)):
                trainer.stored = source
                times.append(time_steps(trainer, options.steps))
    table = Table("", "ms a step", "times the live teacher's speed", box=None)
    rows = {
        "live teacher": median(live),
        "stored, the first to ask": median(read) + filling,
        "stored": median(read) + reading,
    }
    for name, value in rows.items():
        table.add_row(name, f"{1000 * value:.1f}", f"{median(live) / value:.2f}")
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread"
    what = f"{options.method} on {options.suite} {pair}, batch {suite.recipe.batch_size}, {suite.recipe.precision}"
    Console().print(f"{what}, {where}, torch {torch.__version__}")
    Console().print(table)


if __name__ == "__main__":
    main()
