"""Suites with tasks: what their file may say, what is in their fingerprint, and which methods are for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.errors import KdbenchError
from kdbench.hashing import digest
from kdbench.running.kinds import check_tasks
from kdbench.running.plan import plan_cells, teachers_of
from kdbench.suite import Suite
from kdbench.suites import SUITES, load_suite
from kdbench.tasks import FINE_TUNING

TEXT = (SUITES / "digits-tasks.toml").read_text().replace('name = "digits-tasks"', 'name = "mine"')
PAIR = 'pairs = ["resnet8_w4:resnet8_w4"]'


@pytest.fixture(scope="module")
def suite() -> Suite:
    return load_suite("digits-tasks")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[8, 9]]", "[8]]", "tasks.classes has 9 classes, data 10"),
        ("[8, 9]]", "[8, 8, 9]]", "each class from 0 on in one task"),
        ("[8, 9]]", "[8, 10]]", "each class from 0 on in one task"),
        ("[8, 9]]", "[8, 9], []]", "tasks.classes"),
        ("memory = 5", "memory = -1", "tasks.memory"),
        ("memory = 5", "herding = 5", "unknown key 'tasks.herding'"),
        (PAIR, 'pairs = ["other:resnet8_w4"]', "Write 'resnet8_w4:resnet8_w4'"),
        ("[data]", "[recipe.teacher]\nepochs = 2\n\n[data]", "recipe.teacher has no effect in a suite with tasks"),
    ],
)
def test_a_wrong_suite_with_tasks_is_told_where(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in TEXT
    text = TEXT.replace("[models]\n", '[models]\nother = { name = "digits_resnet8" }\n').replace(old, new)
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(KdbenchError) as error:
        load_suite(str(tmp_path / "mine.toml"))
    assert said in str(error.value)


def test_tasks_are_part_of_the_protocol_where_there_are_any(suite: Suite) -> None:
    assert suite.tasks is not None
    more = suite.tasks.model_copy(update={"memory": suite.tasks.memory + 1})
    assert suite.model_copy(update={"tasks": more}).fingerprint != suite.fingerprint
    assert digest(suite.protocol()) == suite.fingerprint
    assert "tasks" not in load_suite("digits").protocol()


def test_a_suite_with_tasks_has_no_teachers(suite: Suite) -> None:
    assert suite.teacher_names == []
    assert teachers_of(suite, [FINE_TUNING, "lwf"], suite.pairs, [0]) == []
    with pytest.raises(KdbenchError, match=r"has \[tasks\] and no teachers"):
        suite.teachers_to_choose()
    cells = plan_cells(suite, {FINE_TUNING: {}, "lwf": {}}, suite.pairs, range(2), {})
    assert len({cell.key for cell in cells}) == 4
    assert not any(cell.teacher_name for cell in cells)


@pytest.mark.parametrize(
    ("method", "name", "said"),
    [
        ("lwf", "digits", "suite 'digits' has no [tasks]. Suites with tasks: cifar100-tasks, digits-tasks"),
        ("kd", "digits-tasks", "Suite 'digits-tasks' has [tasks], and method 'kd' knows of none."),
        ("label_smoothing", "digits-tasks", "method 'label_smoothing' knows of none."),
    ],
)
def test_a_method_on_a_suite_of_the_other_kind_is_refused_in_one_line(method: str, name: str, said: str) -> None:
    with pytest.raises(KdbenchError) as error:
        check_tasks(load_suite(name), [FINE_TUNING, method])
    assert said in str(error.value)
    assert "\n" not in str(error.value)
