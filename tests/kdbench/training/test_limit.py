"""Time limits: what a user may write, and when a training stops for one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from kdbench.data.small import load_data
from kdbench.errors import KdbenchError
from kdbench.running.plan import plan_cells
from kdbench.running.prepare import prepare
from kdbench.suite import Suite
from kdbench.training import limit as limit_module
from kdbench.training import rhythm as rhythm_module
from kdbench.training.limit import OutOfTime, TimeLimit, parse_duration, time_limit
from kdbench.training.trainer import Trainer


class Clock:
    """Time that passes only when a test says so, in place of the module `time`."""

    now = 1000.0

    def time(self) -> float:
        return self.now

    monotonic = time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limit_module, "time", clock)
    monkeypatch.setattr(rhythm_module, "time", clock)
    return clock


def plain(digits: Suite) -> Trainer:
    torch.set_num_threads(1)
    [cell] = plan_cells(digits.with_epochs(6), {"vanilla": {}}, digits.pairs[:1], [0], {})
    return prepare(cell, load_data(digits.data), [], torch.device("cpu"))[0]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("9m", 540), ("1h30m", 5400), ("1h1m1s", 3661), ("1.5h", 5400), (" 2m ", 120)]
)
def test_a_duration_is_read_in_its_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "0s", "0h0m", "m", "9 m", "30m1h", "-5m", "inf", "nan", "soon", "٣m", "1e3s"]
)
def test_another_duration_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(KdbenchError, match=r"--time-limit .*: give hours, minutes or seconds.*1h30m\.$"):
        parse_duration(text)


def test_seconds_without_their_unit_are_refused_with_a_hint() -> None:
    with pytest.raises(KdbenchError, match=r"Did you mean 90s\?"):
        parse_duration("90")


def test_a_training_without_a_length_yet_goes_by_the_last_one_of_the_others(clock: Clock) -> None:
    limit = TimeLimit(100)
    assert limit.suffices()  # nobody had an epoch: it may overrun
    assert not limit.suffices(100)
    limit.learn(95)
    assert not limit.suffices()
    assert limit.suffices(80)
    clock.now += 100
    assert not limit.suffices(0)


def test_a_commands_limit_leaves_some_seconds_for_its_end(clock: Clock) -> None:
    for text, trained in (("10m", 595), ("20s", 18)):
        with time_limit(text) as limit:
            assert limit.suffices((trained - 0.1) / limit_module.SPARE)
            assert not limit.suffices((trained + 0.1) / limit_module.SPARE)


def test_sigterm_ends_the_limit_and_its_handler_ends_with_it() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with time_limit("1h") as limit:
        assert limit.suffices()
        os.kill(os.getpid(), signal.SIGTERM)
        assert not limit.suffices()
    assert signal.getsignal(signal.SIGTERM) == before


def test_no_epoch_is_begun_that_would_not_end_in_time_and_the_rest_is_bit_equal(
    digits: Suite, tmp_path: Path, clock: Clock
) -> None:
    whole = plain(digits)
    whole.train(tmp_path / "whole")

    def pass_ten_seconds(done: int, of: int, loss: float | None) -> None:
        clock.now += 0 if loss is None else 10

    cut = plain(digits)
    with pytest.raises(OutOfTime):
        cut.train(
            tmp_path / "cut", pass_ten_seconds, TimeLimit(45)
        )  # three epochs of 10 s; a fourth and its spare: 41 s
    assert cut.epochs_done == 4
    assert clock.now == 1040
    rest = plain(digits)
    rest.restore(tmp_path / "cut")
    assert rest.epochs_done == 4  # the newest epoch is kept, whatever the usual interval of checkpoints
    rest.train(tmp_path / "cut", limit=TimeLimit(1000))
    assert torch.equal(rest.predict(), whole.predict())


def test_a_first_epoch_may_overrun_but_none_is_begun_after_the_end(digits: Suite, tmp_path: Path, clock: Clock) -> None:
    trainer = plain(digits)
    with pytest.raises(OutOfTime):
        trainer.train(tmp_path / "c", lambda *progress: setattr(clock, "now", clock.now + 10), TimeLimit(15))
    assert trainer.epochs_done == 1
    with pytest.raises(OutOfTime):
        plain(digits).train(tmp_path / "none", limit=TimeLimit(0))
    assert not (tmp_path / "none").exists()
