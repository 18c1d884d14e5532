"""Pairs that can tell nothing of a method are named."""

from __future__ import annotations

from kdbench.records.limits import limit


def test_a_student_at_chance_is_told() -> None:
    assert "at chance (10.5 % with 10 classes)" in str(limit(90.0, 10.5, 10, 800))
    assert limit(90.0, 15.0, 10, 800) is None
    assert limit(90.0, 11.0, 10, 100_000) is None


def test_a_teacher_that_is_not_better_than_its_student_is_told() -> None:
    assert "the teacher (97.49 %) is not better than its plain student (97.74 %)" in str(limit(97.49, 97.74, 10, 797))
    assert limit(97.75, 97.74, 10, 797) is None
    assert limit(None, 97.74, 10, 797) is None
