"""A last batch of one image is refused for networks with batch norm, before anything is trained."""

from __future__ import annotations

import pytest
import torch

from kdbench.data.small import load_data
from kdbench.errors import KdbenchError
from kdbench.running.last_batch import check_last_batches
from kdbench.running.plan import assemble
from kdbench.running.prepare import prepare
from kdbench.suite import Suite
from kdbench.suites import list_suites, load_suite
from kdbench.training.task_trainer import task_rows
from kdbench_methods.lwf import LwF


def with_rows(suite: Suite, train: int, **recipe: object) -> Suite:
    data = suite.data.model_copy(update={"train": train, "train_fraction": None, "validation": 10})
    return suite.model_copy(update={"data": data, "recipe": suite.recipe.model_copy(update=recipe)})


def test_a_batch_of_one_image_is_refused_where_a_network_has_batch_norm(digits: Suite) -> None:
    suite = with_rows(digits, 32, batch_size=31)
    said = r"of 32 images in batches of 31 the last batch has one image.*batch norm of 'resnet8_w4'.*another batch_size"
    with pytest.raises(KdbenchError, match=said):
        check_last_batches(suite, ["resnet8_w4"], [])
    with pytest.raises(KdbenchError, match=r"batches of 1 the last batch has one image"):
        check_last_batches(with_rows(digits, 32, batch_size=1), ["resnet8_w4"], [])
    check_last_batches(suite, ["vit_w32"], [])  # layer norm
    check_last_batches(with_rows(digits, 33, batch_size=31), ["resnet8_w4"], ["resnet8"])
    check_last_batches(with_rows(digits, 42, batch_size=31).with_validation(), ["vit_w32"], [])
    with pytest.raises(KdbenchError, match="of 32 images"):
        check_last_batches(with_rows(digits, 42, batch_size=31).with_validation(), ["resnet8_w4"], [])


def test_teachers_that_are_trained_have_their_own_batches(digits: Suite) -> None:
    suite = with_rows(digits, 32, batch_size=30, teacher={"batch_size": 31})
    check_last_batches(suite, ["resnet8_w4"], [])
    with pytest.raises(KdbenchError, match=r"batch norm of 'resnet8' has.*recipe.teacher"):
        check_last_batches(suite, [], ["resnet8"])
    check_last_batches(suite.model_copy(update={"teachers": "pretrained"}), [], ["resnet8"])


@pytest.mark.parametrize("name", list_suites())
def test_no_built_in_suite_has_such_a_batch(name: str) -> None:
    suite = load_suite(name)
    for one in (suite, suite.with_validation()):
        check_last_batches(one, [], [])
        assert all(one.data.learned_from % one.recipe_of(pair.student).batch_size != 1 for pair in suite.pairs)


def test_a_task_whose_last_batch_is_one_image_is_told_before_its_first_step() -> None:
    suite = load_suite("digits-tasks")
    assert suite.tasks is not None
    data = load_data(suite.data)
    rows = [len(one) for one in task_rows(data.train_labels, suite.tasks, all_earlier=False)]
    recipe = suite.recipe.model_copy(update={"batch_size": rows[-1] - 1})
    assert len(data.train_labels) % recipe.batch_size != 1  # all tasks together have no such batch
    pair = suite.pairs[0]
    cell = assemble(suite.model_copy(update={"recipe": recipe}), LwF, pair, 0, {}, {}, source="")
    said = rf"of {rows[-1]} images in batches of {rows[-1] - 1} the last batch has one image.*'{pair.student}'"
    with pytest.raises(KdbenchError, match=said):
        prepare(cell, data, [], torch.device("cpu"))
