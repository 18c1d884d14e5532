"""What the numbers must not depend on: the size of the batch, half precision, the device."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from kdbench.checks.bench import Bench, backward, batches, evaluate, fail_if
from kdbench.given import Batch
from kdbench.training.contract import check_terms
from kdbench.training.trainer import Trainer

CLOSE = 0.15  # relative; bf16 keeps 8 bits
ORDER = 0.05  # relative; of correlations between neighbours, say, as the papers have them
LONG = 40  # epochs


def returns_terms(bench: Bench) -> None:
    """The loss is a dict of named 0-dim float tensors, the same in every step."""
    trainer = bench.trainer()
    known: list[str] = []
    for batch in batches(trainer):
        known = [] if batch.step == 0 else known
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            terms, *_ = evaluate(trainer, batch)
        fail_if(bool(said), f"the loss makes PyTorch warn: {str(said[0].message).splitlines()[0]}" if said else "")
        check_terms(bench.cls.name, terms, known)
        known = list(terms)


def takes_any_batch(bench: Bench) -> None:
    """A batch of one and a short last batch give finite terms and gradients."""
    for trainer in bench.trainers("across families"):
        for batch in batches(trainer):
            for size in (1, 3):
                terms, *_ = evaluate(trainer, rows(batch, slice(size)))
                backward(trainer, terms)
                grads = [p.grad for p in trainer.parameters if p.grad is not None]
                finite = all(v.isfinite().all() for v in (*terms.values(), *grads))
                fail_if(
                    not finite,
                    f"with {size} image{'s' * (size > 1)} in a batch the loss or its gradient is not finite: "
                    "look for a standard deviation or mean over too few values, and batch norm over 1 x 1 maps.",
                )


def averages_over_the_batch(bench: Bench) -> None:
    """A loss of a batch that holds everything twice is that of the batch; so is that of its rows in another order.

    Terms between images may be divided by their number twice, and what is drawn falls on other rows.
    """
    cls = bench.cls
    if cls.is_data_free():  # its batches are its own
        return
    trainer = bench.trainer()
    for batch in batches(trainer):
        if batch.step != 0:
            continue
        state, count = trainer.generator.get_state(), len(batch.labels)
        again = partial(terms_again, trainer, batch, state, copy.deepcopy(trainer.method.state_dict()))
        once, twice = again(torch.arange(count)), again(torch.arange(2 * count) % count)
        draws = not torch.equal(trainer.generator.get_state(), state)
        with torch.no_grad():
            order = F.cross_entropy(trainer.student(batch.images), batch.labels, reduction="none").argsort()
        rising, falling = again(order), again(order.flip(0))
        for name, value in once.items():
            ratio, moved = (twice[name] / value).item(), ((rising[name] - falling[name]) / value).abs().item()
            fail_if(
                ratio > 1.6,
                f"term '{name}' grows with the batch, {ratio:.2g} times from {count} to {2 * count} images: average "
                "over the batch, do not sum.",
            )
            fail_if(
                ratio < (0.6 if cls.knowledge == ("response",) else 0.4),
                f"term '{name}' falls with the batch, to {ratio:.2g} from {count} to {2 * count} images: it is divided "
                "by the batch's size twice.",
            )
            fail_if(
                moved > ORDER and not draws,
                f"term '{name}' changes by {moved:.0%} with the order of the batch: compare each image with itself.",
            )


def terms_again(
    trainer: Trainer, batch: Batch, state: Tensor, before: dict[str, Tensor], which: Tensor
) -> dict[str, Tensor]:
    """The terms of some rows of a batch, from the same draws and the same buffers."""
    trainer.generator.set_state(state)
    trainer.method.load_state_dict(before)
    return evaluate(trainer, rows(batch, which))[0]


def stays_finite(bench: Bench) -> None:
    """The terms are finite at every point of a training of usual length, the last step included."""
    trainer = bench.trainer(epochs=LONG)
    for batch in batches(trainer):
        if batch.step != 0:
            continue
        length = trainer.stage.epochs
        for epoch in sorted({0, min(5, length - 1), length // 2, length - 1}):
            last = epoch == length - 1
            step = torch.tensor((epoch + last) * trainer.steps_per_epoch - last)
            progress = step / max(1, length * trainer.steps_per_epoch)
            terms, *_ = evaluate(trainer, replace(batch, epoch=torch.tensor(epoch), step=step, progress=progress))
            for name, value in terms.items():
                fail_if(
                    not value.isfinite(),
                    f"term '{name}' is {value.item()} in epoch {epoch + 1} of {length}: look for a division by what is "
                    "left of the training, or a weight that grows without end.",
                )


def rows(batch: Batch, which: slice | Tensor) -> Batch:
    """Some images of a batch."""
    assert batch.view is not None
    strong = None if batch.strong_images is None else batch.strong_images[which]
    images, labels, index, view = (values[which] for values in (batch.images, batch.labels, batch.index, batch.view))
    return replace(batch, images=images, labels=labels, index=index, view=view, strong_images=strong)


def survives_half_precision(bench: Bench) -> None:
    """With networks in bfloat16 the terms are near those in float32."""
    exact, half = bench.trainer(), bench.trainer(precision="bf16")
    for batch, same in zip(batches(exact), batches(half), strict=True):
        if batch.step != 0:
            continue
        terms, *_ = evaluate(exact, batch)
        rounded, *_ = evaluate(half, same)
        for name, value in terms.items():
            gap, scale = (rounded[name] - value).abs().item(), value.abs().item()
            fail_if(
                not gap <= CLOSE * (scale + 0.1),
                f"term '{name}' is {rounded[name].item():.4g} under bf16 autocast and {scale:.4g} in float32: "
                "look for small differences of large numbers, or exp() of them.",
            )


class HostSync(Exception):
    """An operation that waits for the device."""


ONE_HOT = "one_hot"  # reads the largest label, unless it is told how many there are
READS = {"item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__"}


class NoReads(TorchFunctionMode):
    """Forbids what brings a tensor's value to Python."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        if name in READS:
            raise HostSync(f"Tensor.{func.__name__}()")
        if name == ONE_HOT:
            return one_hot(*args, **kwargs)
        return func(*args, **kwargs)


def one_hot(labels: Tensor, num_classes: int = -1) -> Tensor:
    """As on a GPU, where only an unknown number of classes is read from the labels."""
    if num_classes < 0:
        raise HostSync("F.one_hot without num_classes")
    return torch.zeros(*labels.shape, num_classes, dtype=torch.int64).scatter_(-1, labels[..., None], 1)


class NoSync(TorchDispatchMode):
    """Forbids operations whose result decides what the host does next."""

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "_unique2", "unique_dim")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().split("::")[1].split(".")[0]
        if name in self.FORBIDDEN:
            raise HostSync({"_local_scalar_dense": "reading a tensor's value"}.get(name, name))
        if name in ("index", "index_put", "index_put_", "_unsafe_index") and any(
            isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8) for i in args[1] or ()
        ):
            raise HostSync("indexing with a boolean mask")
        return func(*args, **(kwargs or {}))


def never_waits_for_the_device(bench: Bench) -> None:
    """Neither loss nor inputs read a value on the host: a captured step would keep the first one for ever."""

    def around(run: Callable[[], Any]) -> Any:
        with NoReads(), NoSync():
            return run()

    trainer = bench.trainer()
    for batch in batches(trainer):
        try:
            terms, *_ = evaluate(trainer, batch, around)
            if batch.step == 0:
                with NoSync():
                    backward(trainer, terms)
        except HostSync as error:
            fail_if(
                True,
                f"the step waits for the device ({error}), and a captured step would freeze what was read: keep the "
                "value a tensor (batch.epoch and batch.progress are), and choose with torch.where.",
            )
