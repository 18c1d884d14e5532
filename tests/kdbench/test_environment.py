"""A record says what the process that made it had loaded."""

from __future__ import annotations

import pytest
import torch

from kdbench import environment as module
from kdbench.environment import available_cores, environment, share_cores, software


def test_versions_and_commit_are_those_of_the_first_question(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(software())
    monkeypatch.setattr(module, "git_commit", lambda: "a later commit")
    monkeypatch.setattr(module, "version", lambda name: "a later version")
    module.environment.cache_clear()
    found = environment(torch.device("cpu"), "eager")
    assert {name: found[name] for name in before} == before
    assert found["device"] == "cpu"


def test_processes_that_train_at_a_time_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module.SHARING, "1")
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda process: set(range(16)), raising=False)
    assert available_cores() == 16
    for processes, share in ((4, 4), (6, 2), (40, 1)):
        share_cores(processes)
        assert available_cores() == share
