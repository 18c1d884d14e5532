"""A search's study: what it proposes follows from its results alone, whatever interrupts it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from kdbench.errors import KdbenchError
from kdbench.running.space import Choices, Range
from kdbench.running.study import STARTUP, Sampler, open_study

SPACE = {"weight": Range("log", 0.1, 10.0), "layers": Range("int", 1, 8), "how": Choices(("soft", "hard"))}
Params = dict[str, Any]


def score(params: Params) -> float:
    return 90 - abs(params["weight"] - 2) - params["layers"] - 3 * (params["how"] == "hard")


def search(
    path: Path, sampler: Sampler, budget: int, stop: int = 1000, of: Callable[[Params], float] = score
) -> list[Params]:
    """A whole search, or one that is cut off after `stop` rounds."""
    with open_study(path, SPACE, sampler, budget) as study:
        for _ in range(stop):
            values = [of(params) for params in study.trials]
            for number, value in enumerate(values):
                study.tell(number, value)
            if not study.propose(values):
                break
        return list(study.trials)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_an_interrupted_search_proposes_what_a_whole_one_does(sampler: Sampler, tmp_path: Path) -> None:
    whole = search(tmp_path / "whole.jsonl", sampler, STARTUP + 6)
    assert len(whole) == STARTUP + 6
    for _ in range(8):
        search(tmp_path / "cut.jsonl", sampler, STARTUP + 6, stop=1)
    assert search(tmp_path / "cut.jsonl", sampler, STARTUP + 6) == whole
    assert search(tmp_path / "small.jsonl", sampler, 4) == whole[:4]
    assert search(tmp_path / "small.jsonl", sampler, STARTUP + 6) == whole


def test_tpe_goes_by_the_results_after_its_first_trials(tmp_path: Path) -> None:
    one = search(tmp_path / "one.jsonl", "tpe", STARTUP + 6)
    other = search(tmp_path / "other.jsonl", "tpe", STARTUP + 6, of=lambda params: -score(params))
    assert one[:STARTUP] == other[:STARTUP]
    assert one[STARTUP:] != other[STARTUP:]


def test_a_trial_without_a_result_teaches_nothing_and_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "study.jsonl"
    with open_study(path, SPACE, "tpe", STARTUP + 1) as study:
        study.propose([])
        assert len(study.trials) == STARTUP
        study.tell(0, 50.0)
        assert study.propose([50.0, *[None] * (STARTUP - 1)])
        assert not study.propose([None] * (STARTUP + 1))
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    found = optuna.load_study(study_name="study", storage=storage)
    assert [trial.value for trial in found.trials] == [50.0, *[None] * STARTUP]
    assert found.best_trial.params == search(path, "tpe", 1, stop=0)[0]


def test_a_line_that_was_cut_off_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "study.jsonl"
    whole = search(tmp_path / "whole.jsonl", "random", 4)
    search(path, "random", 3)
    path.write_bytes(path.read_bytes()[:-20])
    assert search(path, "random", 4) == whole
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_study_is_one_process_s_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "study.jsonl"
    with (
        open_study(path, SPACE, "random", 2),
        pytest.raises(KdbenchError, match="The same search is running already"),
        open_study(path, SPACE, "random", 2),
    ):
        pass
    assert len(search(path, "random", 2)) == 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (r'"op_code":4', '"op_code":"4"', "no study that Optuna can read"),
        (r'"op_code":0', "not json", "no study that Optuna can read"),
        (r'"layers":', '"depth":', "is corrupt: its trial 0 is not of this space"),
        (r'"high\\": 8|"layers":\d', r'"high\\": 8', "no study that Optuna can read"),
        (r'"weight":\d+', '"weight":1234', "no study that Optuna can read|not of this space"),
    ],
)
def test_a_damaged_file_is_one_line_that_says_what_to_do(old: str, new: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "study.jsonl"
    search(path, "random", 2)
    text = re.sub(old, new, path.read_text())
    assert text != path.read_text()
    path.write_text(text)
    with pytest.raises(KdbenchError, match=said) as raised:
        search(path, "random", 2)
    assert "Remove it" in str(raised.value)
    assert "\n" not in str(raised.value)
