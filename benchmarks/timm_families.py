"""One small model of every timm family, as teacher and as student of `cifar_resnet8`: does kdbench run on it?

    PYTHONPATH=. python benchmarks/timm_families.py --out docs/timm-families.md

For each family (a module of timm's) the smallest model by parameters, with random weights and at the smallest of a few
input sizes that it takes: its logits, embedding and maps, forward and backward; then `kd`, `fitnets` and `at`, three
optimizer steps each, with the model as the teacher and as the student. Each family has a process of its own, so that a
crash or too little memory costs that family alone.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import timm
import torch

from kdbench.data.small import Dataset
from kdbench.errors import KdbenchError, NotApplicable
from kdbench.networks.build import build_network, count_parameters
from kdbench.networks.maps import feature_maps
from kdbench.networks.outputs import OutputReader
from kdbench.plugins import load_method
from kdbench.running.plan import Cell
from kdbench.running.prepare import prepare
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Model

SIZES = (32, 64, 96, 128, 192, 224, 256)
METHODS = ("kd", "fitnets", "at")
BATCH, STEPS = 4, 3
MADE_WITH = f"timm {timm.__version__}, torch {torch.__version__}, Python {platform.python_version()}, CPU"
COLUMNS = ("family", "model", "parameters", "input", "embedding", "maps", "as teacher", "as student", "problem")


def families() -> list[str]:
    """timm's modules that hold models of timm's own."""
    return [name for name in timm.list_modules() if models_of(name)]


def models_of(family: str) -> list[str]:
    """A family's models, without kdbench's and without the largest ones."""
    names = [name for name in timm.list_models(module=family) if not name.startswith(("cifar_", "digits_"))]
    return [name for name in names if not any(big in name for big in ("large", "huge", "giant", "_xl"))] or names


def smallest_model(family: str) -> tuple[str, int]:
    """Name and parameters of a family's smallest model, counted without memory for its weights."""
    best: tuple[str, int] | None = None
    names = models_of(family)
    for name in names:
        try:
            with torch.device("meta"):
                model = timm.create_model(name, num_classes=10)
        except Exception:  # noqa: S112  (some constructors compute with weights; others of the family do not)
            continue
        if hasattr(model, "get_classifier") and (best is None or count_parameters(model) < best[1]):
            best = name, count_parameters(model)
    return best or (names[0], 0)


def suite_with(model: Model) -> Suite:
    """A suite of 32 x 32 images with this model and `cifar_resnet8`."""
    suite = load_suite("cifar100")
    recipe = suite.recipe.model_copy(update={"precision": "float32", "batch_size": BATCH, "learning_rate": 0.001})
    data = suite.data.model_copy(update={"num_classes": 10})
    models = {"resnet8": Model(name="cifar_resnet8"), "it": model}
    return suite.model_copy(update={"models": models, "recipe": recipe, "data": data})


def smallest_input(name: str) -> tuple[Suite, list[Any]]:
    """The suite with the model at the smallest input at which it makes two maps, and those.

    Raises:
        KdbenchError: none of the sizes will do; with what the last one said.
    """
    last: Exception | None = None
    for size in SIZES:
        for arguments in ({}, {"img_size": size}):
            try:
                suite = suite_with(Model.model_validate({"name": name, "input_size": (size, size), **arguments}))
                maps = feature_maps(build_network(suite, "it", seed=0), torch.zeros(1, 3, 32, 32))
            except Exception as error:
                last = error
                continue
            if len(maps) >= 2:
                return suite, maps
    raise KdbenchError(str(last).splitlines()[0] if last else "fewer than two maps")


def check_outputs(suite: Suite, maps: list[Any]) -> int:
    """Logits, embedding and maps forward, and gradients backward; returns the embedding's width."""
    network = build_network(suite, "it", seed=0)
    read = OutputReader("student", network, {"logits", "embedding", "features"}, maps)
    outputs = read(torch.randn(2, 3, 32, 32))
    assert outputs.logits.shape == (2, 10), f"logits {tuple(outputs.logits.shape)}"
    assert outputs.embedding.ndim == 2, f"embedding {tuple(outputs.embedding.shape)}"
    assert all(value.ndim == 4 for value in outputs.features)
    for value in (outputs.logits, outputs.embedding, *outputs.features):
        assert value.isfinite().all(), "values are not finite"
        network.zero_grad(set_to_none=True)
        (value * torch.randn_like(value)).sum().backward(retain_graph=True)
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters()), "no gradient"
    return outputs.embedding.shape[1]


def check_training(suite: Suite, teacher: str, student: str) -> str:
    """Three steps under each method; what did not work, or 'ok'."""
    generator = torch.Generator().manual_seed(0)
    n = BATCH * STEPS
    images = torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (n,), generator=generator)
    dataset = Dataset(images, labels, images[:BATCH], labels[:BATCH])
    found = []
    for name in METHODS:
        params = load_method(name).Params().model_dump()
        cell = Cell("cell", suite, name, 1, "", student=student, seed=0, params=params)
        frozen = build_network(suite, teacher, seed=1).eval().requires_grad_(False)
        try:
            trainer, _ = prepare(cell, dataset, [frozen], torch.device("cpu"))
        except NotApplicable as reason:
            found.append(f"{name}: {reason}")
            continue
        before = [p.detach().clone() for p in trainer.student.parameters()]
        trainer.student.train()
        terms = trainer.run_steps(trainer.feed(0))
        if not terms.isfinite().all():
            return f"{name}: loss not finite"
        if all(torch.equal(p, q) for p, q in zip(trainer.student.parameters(), before, strict=True)):
            return f"{name}: the student does not move"
    return "; ".join(found) or "ok"


def examine(family: str) -> dict[str, Any]:
    """One row of the table."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
    row["family"] = family
    try:
        row["model"], row["parameters"] = smallest_model(family)
        suite, maps = smallest_input(row["model"])
        spec = suite.models["it"]
        row["input"] = f"{spec.input_size[0] if spec.input_size else ''}{' img_size' if spec.arguments else ''}"
        row["maps"] = ", ".join("x".join(map(str, m.shape)) for m in maps)
        row["embedding"] = check_outputs(suite, maps)
        row["as teacher"] = check_training(suite, "it", "resnet8")
        row["as student"] = check_training(suite, "resnet8", "it")
    except Exception as error:
        row["problem"] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:160]
    return row


def in_a_process(family: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--family", family]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        row = {"family": family, "problem": "15 minutes were not enough"}
    except (IndexError, ValueError):
        row = {"family": family, "problem": f"its process ended with {done.returncode}"}
    sys.stderr.write(f"{family}: {row.get('problem') or 'ok'}\n")
    return row


def table(lines: list[str], made_with: str) -> str:
    """Markdown, of one line a family."""
    fine = sum("| ok | ok |" in text for text in lines)
    head = [
        "# timm's families under kdbench",
        "",
        f"{fine} of {len(lines)} families run, as teacher and as student of `cifar_resnet8` under `kd`, `fitnets` and "
        f"`at` ({made_with}). Made by",
        "",
        "    PYTHONPATH=. python benchmarks/timm_families.py --out docs/timm-families.md",
        "",
        "with each family's smallest model, at the smallest of the inputs "
        f"{', '.join(map(str, SIZES))} that it takes ('img_size': its constructor was told), and random weights.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|" + "---|" * len(COLUMNS),
    ]
    return "\n".join([*head, *lines]) + "\n"


def line(row: dict[str, Any]) -> str:
    """A family's line of the table."""
    values = [row.get(column, "") for column in COLUMNS]
    texts = [f"{v:,}" if isinstance(v, int) else str(v).replace("|", "/") for v in values]
    return f"| {' | '.join(texts)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--out", type=Path, help="the table; default: standard output")
    parser.add_argument("--family", action="append", help="one family in this process, as JSON")
    parser.add_argument("--again", action="append", help="try one family again, in the table that is there")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    if options.family:
        for family in options.family:
            sys.stdout.write(json.dumps(examine(family)) + "\n")
        return
    known, made_with = {}, MADE_WITH
    if options.again and options.out:
        text = options.out.read_text(encoding="utf-8")
        rows = [row for row in text.splitlines() if row.startswith("| ")]
        known = {row.split(" | ")[0].removeprefix("| "): row for row in rows}
        before = text.split("`at` (")[1].split("). Made by")[0]
        made_with = f"{before}; {', '.join(options.again)} with {MADE_WITH}"
    with ThreadPoolExecutor(options.jobs) as pool:
        known |= {row["family"]: line(row) for row in pool.map(in_a_process, options.again or families())}
    text = table([known[family] for family in families() if family in known], made_with)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
