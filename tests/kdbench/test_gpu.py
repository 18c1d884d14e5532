"""On a GPU: nothing in an epoch waits for the device, and captured or compiled steps train as eager ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from kdbench.console import Notice
from kdbench.data.small import load_data
from kdbench.errors import NotApplicable
from kdbench.plugins import load_method
from kdbench.running.engines.events import Finished, Machine, Noticed
from kdbench.running.engines.local import execute
from kdbench.running.plan import plan_cells, resolve_params
from kdbench.running.prepare import load_teachers, prepare
from kdbench.running.teachers import find_teacher
from kdbench.running.timing import Subject, random_dataset, timed_trainer
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Execution
from kdbench.tasks import TASKS
from kdbench.training.trainer import Trainer
from tests.distilled import TEACHING

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU"),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode"),
    pytest.mark.filterwarnings("ignore:Please use the new API"),
    pytest.mark.filterwarnings("ignore:TensorFloat32"),
    pytest.mark.filterwarnings("ignore:`torch.jit"),  # PyTorch 2.11's own, when it compiles
]
METHODS = ["vanilla", "kd", "fitnets", "at", "crd", "dml", "cskd", "pskd", "anc"]


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.cuda.set_sync_debug_mode("default")


def make(
    suite: Suite, method: str, execution: Execution = "eager", stored: bool = False, notice: Notice = pytest.fail
) -> Trainer:
    pair = suite.pairs[0]
    teacher = find_teacher(suite, pair.teacher, None, print)
    assert teacher is not None
    [cell] = plan_cells(suite, {method: {}}, [pair], [0], {pair.teacher: teacher})
    data, device = load_data(suite.data), torch.device("cuda")
    return prepare(cell, data, load_teachers(cell), device, execution, notice, stored=stored)[0]


@pytest.mark.parametrize("method", TEACHING)
def test_no_step_of_an_epoch_waits_for_the_device(method: str, digits: Suite) -> None:
    suite = load_suite("digits-tasks") if TASKS in load_method(method).requires else digits
    device, data = torch.device("cuda"), random_dataset(suite.data)
    params, _ = resolve_params(load_method(method), suite, suite.pairs[0], {})
    try:
        trainer = timed_trainer(Subject(suite, suite.pairs[0], method, params, data, device))
    except NotApplicable as reason:
        pytest.skip(str(reason))
    trainer.watches = False  # to watch a step is to read its values
    for stage in range(len(trainer.stages)):
        first = sum(earlier.epochs for earlier in trainer.stages[:stage])
        epoch = trainer.enter_stage(first)
        trainer.train_epoch(epoch)  # libraries may wait once
        trainer.begin_epoch(epoch)
        feed = trainer.feed(epoch)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        trainer.run_steps(feed)
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("execution", ["captured", "compiled"])
@pytest.mark.parametrize("method", METHODS)
def test_steps_that_are_captured_or_compiled_train_as_eager_ones(
    method: str, execution: Execution, digits: Suite, tmp_path: Path
) -> None:
    suite = digits.with_epochs(2)
    eager, other = make(suite, method), make(suite, method, execution)
    eager.train(tmp_path / "eager")
    other.train(tmp_path / "other")
    assert other.execution == execution
    assert other.captured is not None
    for name, values in eager.curve.items():
        if name != "test_top1":
            assert other.curve[name] == pytest.approx(values, rel=1e-2), name
    assert (other.predict() - eager.predict()).abs().mean() < 0.05


def test_a_captured_training_resumes_where_it_was(digits: Suite, tmp_path: Path) -> None:
    suite = digits.with_epochs(4)
    whole, half, rest = (make(suite, "crd", "captured") for _ in range(3))
    whole.train(tmp_path / "whole")
    for _ in range(2):
        half.next_epoch()
    half.save(tmp_path / "half")
    rest.restore(tmp_path / "half")
    rest.train(tmp_path / "rest")
    assert rest.predict().sub(whole.predict()).abs().mean() < 0.05


@pytest.mark.parametrize("execution", ["eager", "captured"])
def test_a_training_from_stored_outputs_is_that_under_a_live_teacher(
    execution: Execution, digits: Suite, tmp_path: Path
) -> None:
    suite = digits.with_epochs(2)
    live, stored = make(suite, "crd"), make(suite, "crd", execution, stored=True, notice=print)
    assert stored.stored is not None
    live.train(tmp_path / "live")
    stored.train(tmp_path / "stored")
    assert stored.execution == execution
    assert stored.curve["loss"] == pytest.approx(live.curve["loss"], rel=1e-2)


READS_A_VALUE = """
from kdbench_methods.vanilla import Vanilla

class Reads(Vanilla):
    name = "reads"

    def loss(self, batch, student, teacher):
        terms = super().loss(batch, student, teacher)
        return {"ce": terms["ce"] * (1.0 if terms["ce"].item() > 0 else 0.0)}
"""


def test_what_pytorch_refuses_to_capture_is_trained_eagerly_by_a_fresh_process(
    digits: Suite, tmp_path: Path, install_plugin: Callable[..., Path]
) -> None:
    install_plugin("theirs", {"reads": "reads_a_value:Reads"}, reads_a_value=READS_A_VALUE)
    cells = plan_cells(digits.with_epochs(2), {"reads": {}}, digits.pairs[:1], [0, 1], {})
    events = list(execute(cells, tmp_path / "runs", Machine(["cuda:0"], 1, "captured")))
    [said] = [event.text for event in events if isinstance(event, Noticed)]
    assert said.startswith("The step of 'reads' cannot be captured and runs eagerly: ")
    assert [event.cell for event in events if isinstance(event, Finished)] == cells


def test_a_captured_training_leaves_the_device_when_it_is_dropped(digits: Suite, tmp_path: Path) -> None:
    left = []
    for _ in range(3):
        trainer = make(digits.with_epochs(1), "kd", "captured")
        trainer.train(tmp_path / "checkpoint")
        assert trainer.captured is not None
        del trainer
        torch.cuda.synchronize()
        left.append(torch.cuda.memory_allocated())
    assert left[2] <= left[1]  # the first one loads libraries
