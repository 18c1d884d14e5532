"""What a run says of accepted records: identical, reproduced by the interval, not reproduced, not decided, its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kdbench.records.agreement import Answers, answers_of, reproduction
from kdbench.records.reader import read_results

RESULTS = Path(__file__).parents[3] / "results"


@pytest.fixture(scope="module")
def accepted() -> list[Answers]:
    """The accepted cells of kd on the pair resnet8:resnet8_w8, five seeds."""
    entries = read_results(RESULTS / "digits" / "kd")
    pair = "resnet8", "resnet8_w8"
    return [a for a in answers_of(entries) if (a.record.teacher, a.record.student) == pair and a.record.seed < 5]


def again(answers: Answers, correct: np.ndarray | None = None) -> Answers:
    """The same cell trained at another time, with these images right instead, where they are given."""
    record = answers.record.model_copy(update={"finished": "2027-01-01T00:00:00+00:00"})
    if correct is None:
        return Answers(record, answers.predicted, answers.correct)
    return Answers(record, np.where(correct == answers.correct, answers.predicted, answers.predicted + 100), correct)


def test_identical_predictions_are_reproduced(accepted: list[Answers]) -> None:
    found = reproduction(map(again, accepted), accepted)
    assert found
    assert (found.verdict, found.identical, found.cells, found.holds) == ("identical", 5, 5, True)
    assert str(found) == "reproduced: predictions identical to the accepted records in all 5 cells"


def test_other_predictions_are_reproduced_where_the_interval_holds_0(accepted: list[Answers]) -> None:
    mine = []
    for n, answers in enumerate(accepted):
        correct = answers.correct.copy()
        correct[n : n + 10] = ~correct[n : n + 10] if n % 2 else correct[n : n + 10]
        mine.append(again(answers, correct))
    found = reproduction(mine, accepted)
    assert found
    assert found.difference
    assert found.verdict == "reproduced"
    assert found.identical == 3
    assert found.difference.holds_zero
    expected = np.mean([100 * (m.correct.mean() - a.correct.mean()) for m, a in zip(mine, accepted, strict=True)])
    assert found.difference.mean == pytest.approx(expected)


def test_a_clear_difference_is_not_reproduced(accepted: list[Answers]) -> None:
    worse = [again(a, a.correct & (np.arange(len(a.correct)) % 4 > 0)) for a in accepted]
    found = reproduction(worse, accepted)
    assert found
    assert (found.verdict, found.identical, found.holds) == ("not reproduced", 0, False)


def test_one_seed_with_other_predictions_decides_nothing(accepted: list[Answers]) -> None:
    found = reproduction([again(accepted[0], ~accepted[0].correct)], accepted)
    assert found
    assert (found.verdict, found.difference, found.holds) == ("not decided", None, False)


def test_records_that_are_the_runs_own_reproduce_nothing(accepted: list[Answers]) -> None:
    found = reproduction(accepted, accepted)
    assert found
    assert (found.verdict, found.holds) == ("its own", False)
    restamped = [Answers(a.record.model_copy(update={"trials": 3}), a.predicted, a.correct) for a in accepted]
    assert reproduction(restamped, accepted) == found
    mixed = [*accepted[:3], *map(again, accepted[3:])]
    partly = reproduction(mixed, accepted)
    assert partly
    assert (partly.verdict, partly.cells) == ("identical", 2)


def test_cells_without_an_accepted_record_are_not_compared(accepted: list[Answers]) -> None:
    assert reproduction(accepted[:2], accepted[2:]) is None
