"""Step time of kdbench beside the loop of most distillation repositories, in one run on one machine.

    PYTHONPATH=. python benchmarks/step_time.py --pair resnet32x4:resnet8x4

Each row trains the same pair under KD with a live teacher, on made-up images of the suite's size. The yardstick is
`reference_loop.py`: torchvision's transforms in a DataLoader, float32, and the loss read after every step. Rows take
turns, and each row's time is its median over the rounds, after a warm-up and with the device waited for.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.reference_loop import kd_loss, reference_losses, view_of
from kdbench.commands.request import parse_device, parse_execution, parse_pairs
from kdbench.networks.build import build_network
from kdbench.running.timing import Subject, random_dataset, time_steps, timed_trainer, wait_for
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Execution, Pair


class Pictures(Dataset[tuple[Tensor, int]]):
    """Random images, each padded, cropped and flipped alone."""

    def __init__(self, suite: Suite) -> None:
        self.data = suite.data
        shape = (4096, *suite.data.image_size, suite.data.channels)
        self.pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        offsets = 2 * self.data.crop_padding + 1
        view = (*divmod(i % offsets**2, offsets), i % 2 == 1)
        image = self.pixels[i % len(self.pixels)]
        return view_of(image, view, self.data.crop_padding, self.data.mean, self.data.std), i % self.data.num_classes


def plain_loop(suite: Suite, pair: Pair, device: torch.device, loaders: int) -> Callable[[int], float]:
    """Seconds of a step of the plain loop, as a function of the number of steps."""
    torch.manual_seed(0)
    student = build_network(suite, pair.student, seed=0).to(device)
    teacher = build_network(suite, pair.teacher, seed=0).to(device).eval().requires_grad_(False)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        loader = DataLoader(Pictures(suite), suite.recipe.batch_size, shuffle=True, num_workers=loaders)
        for images, labels in loader:
            yield images.to(device), labels.to(device)

    steps = reference_losses(batches(), student, kd_loss, teacher)

    def run(count: int) -> float:
        wait_for(device)
        start = time.perf_counter()
        for _ in range(count):
            next(steps)
        wait_for(device)
        return (time.perf_counter() - start) / count

    return run


def kdbench_loop(
    suite: Suite, pair: Pair, device: torch.device, precision: str, execution: Execution
) -> Callable[[int], float]:
    """The same of kdbench's own step."""
    suite = suite.model_copy(update={"recipe": suite.recipe.model_copy(update={"precision": precision})})
    trainer = timed_trainer(Subject(suite, pair, "kd", {}, random_dataset(suite.data), device, execution))
    return lambda count: time_steps(trainer, count)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--suite", default="cifar100")
    parser.add_argument("--pair", default="resnet32x4:resnet8x4")
    parser.add_argument("--steps", type=int, default=10, help="steps a row and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loaders", type=int, default=2, help="worker processes of the plain loop's DataLoader")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--executions", default="auto", help="of eager, captured, compiled, by commas")
    options = parser.parse_args()

    suite, devices = load_suite(options.suite), parse_device(options.device)
    [pair], device = parse_pairs(suite, [options.pair]), torch.device(devices[0])
    executions = options.executions.replace("auto", "eager,captured" if device.type == "cuda" else "eager").split(",")
    rows = {"plain loop, float32": plain_loop(suite, pair, device, options.loaders)}
    for execution in executions:
        parse_execution(execution, devices)
        for precision in ("float32", "bf16"):
            rows[f"kdbench {execution}, {precision}"] = kdbench_loop(suite, pair, device, precision, execution)
    for run in rows.values():
        run(options.steps)
    rounds = [{name: run(options.steps) for name, run in rows.items()} for _ in range(options.rounds)]
    seconds = {name: median(found[name] for found in rounds) for name in rows}
    yardstick = next(iter(seconds.values()))
    table = Table("", "ms a step", "images/s", "times the plain loop", box=None)
    for name, value in seconds.items():
        rate = suite.recipe.batch_size / value
        table.add_row(name, f"{1000 * value:.1f}", f"{rate:.0f}", f"{yardstick / value:.2f}")
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread"
    Console().print(f"{options.suite} {pair}, batch {suite.recipe.batch_size}, {where}, torch {torch.__version__}")
    Console().print(table)


if __name__ == "__main__":
    main()
