"""Captured steps: where they are recorded, what they leave behind, and what becomes of one that cannot be."""

from __future__ import annotations

import gc
import warnings
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kdbench.checks.simulated import GPU, simulated_gpu
from kdbench.given import Batch, Outputs, Read
from kdbench.method import Method
from kdbench.tables import Pair
from kdbench.training import capture as capture_module
from kdbench.training.capture import CaptureFailed, register, side_stream
from kdbench.training.trainer import Diverged, Trainer
from tests.methods.gpu_trainings import make

PAIR = Pair(teacher="resnet8", student="resnet8_w4")


def test_warm_up_and_capture_are_on_one_side_stream_and_replays_on_the_former_one(tmp_path: Path) -> None:
    seen: list[Any] = []
    with simulated_gpu() as gpu:
        before = torch.cuda.current_stream(GPU)
        trainer = make("kd", PAIR, GPU, "captured")
        step = trainer.step

        def watch(batch: Batch, *rest: Any) -> Tensor:
            seen.append((torch.cuda.current_stream(GPU), gpu.recording is not None))
            return step(batch, *rest)

        trainer.step = watch  # type: ignore[method-assign]
        trainer.next_epoch()
        side = seen[0][0]
        assert side is not before
        assert seen == [(side, False)] * 3 + [(side, True), (before, False)]  # the last one is the short batch
        assert torch.cuda.current_stream(GPU) is before
        with side_stream(GPU) as again:
            assert again is side  # that of every training


def test_the_former_stream_is_the_current_one_again_after_a_failure() -> None:
    with simulated_gpu():
        before = torch.cuda.current_stream(GPU)
        with suppress(CaptureFailed), side_stream(GPU) as stream:
            torch.cuda.set_stream(torch.cuda.Stream(GPU))  # as a failed capture leaves it
            raise CaptureFailed
        assert stream is not before
        assert torch.cuda.current_stream(GPU) is before


@pytest.mark.parametrize("execution", ["eager", "captured"])
def test_a_training_is_gone_once_it_is_dropped(execution: Any, tmp_path: Path) -> None:
    """Without the garbage collector, so that its memory on the device is free for the next one."""
    with simulated_gpu():
        trainer: Trainer | None = make("kd", PAIR, GPU, execution)
        assert trainer is not None
        trainer.train(tmp_path / "checkpoint")
        assert (trainer.captured is not None) == (execution == "captured")
        there = weakref.ref(trainer)
        weights = weakref.ref(next(trainer.student.parameters()))
        gc.collect()
        gc.disable()
        try:
            del trainer
            assert there() is None
            assert weights() is None
        finally:
            gc.enable()


def spoil(trainer: Trainer, error: Exception) -> None:
    """Its step fails while it is recorded."""
    original = trainer.method.loss

    def loss(batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        if torch.cuda.is_current_stream_capturing():
            raise error
        return original(batch, student, teacher)

    Method.__setattr__(trainer.method, "loss", loss)
    trainer.replan([trainer.method.main(2)])


@pytest.mark.parametrize("error", [RuntimeError("not permitted\nmore"), UserWarning("not permitted")])
def test_a_step_that_cannot_be_captured_says_so_in_one_line(error: Exception) -> None:
    with simulated_gpu():
        trainer = make("kd", PAIR, GPU, "captured")
        spoil(trainer, error)
        with pytest.raises(CaptureFailed) as failed:
            trainer.next_epoch()
    assert str(failed.value) == "The step of 'kd' cannot be captured and runs eagerly: not permitted"


def test_a_device_that_is_full_while_a_step_is_recorded_is_out_of_memory() -> None:
    with simulated_gpu():
        trainer = make("kd", PAIR, GPU, "captured")
        spoil(trainer, torch.OutOfMemoryError("CUDA out of memory"))
        with pytest.raises(torch.OutOfMemoryError):
            trainer.next_epoch()


def test_a_method_whose_steps_differ_is_never_captured_and_says_so() -> None:
    said: list[str] = []
    with simulated_gpu():
        trainer = make("dfad", PAIR, GPU, "captured", notice=said.append)
        assert trainer.execution == "eager"
    assert said == ["Steps of 'dfad' differ, so steps are not captured and run eagerly."]


@pytest.mark.parametrize(("method", "images"), [("kd", 1), ("sskd", 4)])  # of a sample in the step
def test_compiled_networks_are_captured_on_a_gpu_for_full_batches_alone(
    method: str, images: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def compiled(read: Read) -> Read:
        def fast(images: Tensor) -> Outputs:
            sizes.append(len(images))
            return read(images)

        return fast

    monkeypatch.setattr(torch, "compile", compiled)
    with simulated_gpu():
        trainer, eager = make(method, PAIR, GPU, "compiled"), make(method, PAIR, GPU, "eager")
        for one in (trainer, eager):
            one.replan([one.method.main(1)])
        assert trainer.execution == "compiled"
        assert trainer.next_epoch() == eager.next_epoch()
        assert trainer.captured is not None
    # Of student and teacher: two eager steps (the first is counted), and the recorded one.
    assert sizes == [images * trainer.recipe.batch_size] * 6


def test_a_compiled_step_that_cannot_be_captured_is_not_taken_for_one_that_cannot_be_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def compiled(read: Read) -> Read:
        def fast(images: Tensor) -> Outputs:
            if torch.cuda.is_current_stream_capturing():
                raise RuntimeError("not permitted")
            return read(images)

        return fast

    monkeypatch.setattr(torch, "compile", compiled)
    said: list[str] = []
    with simulated_gpu():
        trainer = make("kd", PAIR, GPU, "compiled", notice=said.append)
        with pytest.raises(CaptureFailed, match="runs eagerly: not permitted"):
            trainer.next_epoch()
    assert said == []


def test_compiled_networks_whose_steps_differ_are_not_captured_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda read: read)
    said: list[str] = []
    with simulated_gpu():
        trainer = make("dfad", PAIR, GPU, "compiled", notice=said.append)
    assert (trainer.execution, trainer.captures) == ("compiled", False)
    assert said == ["Steps of 'dfad' differ, so steps are not captured."]


def test_compiled_networks_are_not_captured_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda read: read)
    trainer = make("kd", PAIR, torch.device("cpu"), "compiled")
    trainer.next_epoch()
    assert (trainer.execution, trainer.captured) == ("compiled", None)


def test_a_capture_that_recorded_nothing_is_not_taken_for_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_module, "cuda_graph", lambda body, generator, stream: lambda: None)
    with simulated_gpu():
        trainer = make("kd", PAIR, GPU, "captured")
        with pytest.raises(Diverged, match="not finite in step 4 of epoch 1"):
            trainer.next_epoch()


def test_a_generator_is_registered_where_pytorch_wants_it_and_not_where_it_warns_or_has_no_word_for_it() -> None:
    registered: list[Any] = []

    class Older:
        def register_generator_state(self, generator: torch.Generator) -> None:
            registered.append(generator)

    class Current:
        def register_generator_state(self, generator: torch.Generator) -> None:
            warnings.warn("register_generator_state() is deprecated", FutureWarning, stacklevel=2)

    class Later: ...

    generator = torch.Generator()
    for graph in (Older(), Current(), Later()):
        register(graph, generator)  # type: ignore[arg-type]
    assert registered == [generator]
