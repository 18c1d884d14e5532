"""TinyMIM's relations, and which networks have them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from kdbench import NotApplicable, Shapes
from kdbench_methods.tinymim import TinyMIM, divergence, relation
from tests.methods.small import small_setup

Block = tuple[int, int, int]  # tokens, width, heads


def built(student: Block, teacher: Block, epochs: int = 20) -> TinyMIM:
    method = TinyMIM(TinyMIM.Params())
    own, theirs = Shapes("student", attention=(student,) * 2), Shapes("teacher", attention=(teacher,) * 2)
    method.build(small_setup(student=own, teacher=theirs, epochs=epochs))
    return method


@pytest.mark.parametrize("epochs", [1, 2, 3, 20])
def test_both_parts_last_as_long_as_one_training(epochs: int) -> None:
    method = built((5, 16, 2), (5, 24, 4), epochs)
    both = [*method.stages(), method.main(epochs)]
    assert sum(stage.epochs for stage in both) == max(2, epochs)
    assert [stage.epochs for stage in built((5, 16, 2), (5, 24, 4)).stages()] == [15]


@pytest.mark.parametrize("student", [(6, 16, 2), (5, 18, 2)])
def test_other_tokens_and_widths_that_the_teachers_heads_do_not_divide_are_refused(student: Block) -> None:
    with pytest.raises(NotApplicable, match=rf"{student[0]} tokens of width {student[1]} .* as 5 in 4 heads"):
        built(student, (5, 24, 4))


def test_relations_are_distributions_over_tokens_of_any_width(random: Any) -> None:
    wide, narrow = relation(random(2, 4, 5, 6), random(2, 4, 5, 6, seed=1)), relation(*[random(2, 4, 5, 3)] * 2)
    assert torch.allclose(wide.exp().sum(dim=3), torch.ones(2, 4, 5, dtype=wide.dtype))
    assert divergence(wide, wide).item() == pytest.approx(0, abs=1e-12)
    assert divergence(wide, narrow).item() > 0.01
