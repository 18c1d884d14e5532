"""A record says what the process that made it had loaded."""

from __future__ import annotations

import pytest
import torch

from kdbench import environment as module
from kdbench.environment import environment, software


def test_versions_and_commit_are_those_of_the_first_question(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(software())
    monkeypatch.setattr(module, "git_commit", lambda: "a later commit")
    monkeypatch.setattr(module, "version", lambda name: "a later version")
    module.environment.cache_clear()
    found = environment(torch.device("cpu"), "eager")
    assert {name: found[name] for name in before} == before
    assert found["device"] == "cpu"
