"""A teacher's key follows from all that its training depends on, the method that trains it among them."""

from __future__ import annotations

from kdbench.layout import TEACHERS
from kdbench.records.keys import teacher_key
from kdbench.records.reader import read_results
from kdbench.suite import Suite
from kdbench.suites import SUITES


def test_teachers_of_the_first_version_keep_the_keys_that_they_were_accepted_under(digits: Suite) -> None:
    records = [entry.record for entry in read_results(SUITES / "digits" / TEACHERS)]
    assert {record.student for record in records} == {pair.teacher for pair in digits.pairs}
    for record in records:
        assert record.method.version == 1
        assert record.key == teacher_key(digits, record.student, 1, number=record.seed)


def test_another_version_of_the_plain_method_trains_another_teacher(digits: Suite) -> None:
    assert len({teacher_key(digits, "resnet8", version) for version in (1, 2, 3)}) == 3


def test_timms_own_weights_are_the_same_whatever_the_plain_method_is(digits: Suite) -> None:
    pretrained = digits.model_copy(update={"teachers": "pretrained"})
    assert teacher_key(pretrained, "resnet8", 2) == teacher_key(pretrained, "resnet8", 1)
