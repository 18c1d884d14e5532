"""The logits that the learning pages show are those of the teachers that ship."""

from __future__ import annotations

import numpy as np
import torch

from docs.make_learning import CLASSES, COMMAND, FILE, teachers_of
from kdbench.commands.explain import CPU, teacher_of
from kdbench.data.small import load_data
from kdbench.data.views import Normalize
from kdbench.suites import load_suite, load_test_labels
from kdbench.training.prediction import predict
from kdbench_leaderboard.learn.taught import classes, taught

STALE = f"{FILE.name} is out of date: run {COMMAND}"


def test_the_stored_logits_are_those_of_the_teachers():
    suite, stored = load_suite("digits"), taught()
    teachers = {t.model: t for t in teachers_of(suite)}
    assert {name: t.sha256 for name, t in teachers.items()} == stored.hashes, STALE
    data = load_data(suite.data)
    assert np.array_equal(data.test_images[:, 0].numpy(), stored.images), STALE
    assert np.array_equal(load_test_labels(suite), stored.labels), STALE
    some = torch.arange(0, len(stored.labels), 13)
    for name, teacher in teachers.items():
        batch = Normalize(suite.data, CPU)(data.test_images[some])
        logits = predict(teacher.load(suite), [batch], CPU, suite.teacher_recipe().precision).numpy()
        assert np.abs(logits - stored.teachers[name][some]).max() < 0.02, STALE


def test_the_classes_are_those_of_the_teacher_that_ships():
    suite, stored = load_suite("cifar100-quarter"), classes()
    teacher = teacher_of(suite, stored.teacher, None, print)
    assert teacher.sha256 == stored.sha256, f"{CLASSES.name} is out of date: run {COMMAND} --classes"
    assert len(stored.names) == len(set(stored.names)) == suite.data.num_classes
    assert np.abs(stored.table.sum(axis=1) - 1).max() < 0.01
    right = load_test_labels(suite) == teacher.evidence.predicted  # where it is right more, it is surer of the class
    accuracy = [right[load_test_labels(suite) == c].mean() for c in range(suite.data.num_classes)]
    assert np.corrcoef(accuracy, stored.table.diagonal())[0, 1] > 0.8


def test_the_students_are_those_of_the_suites_first_pair():
    assert ":".join(taught().pair) == str(load_suite("digits").pairs[0]), STALE
    accuracy = {name: (z.argmax(1) == taught().labels).mean() for name, z in taught().students.items()}
    assert set(accuracy) == {"vanilla", "kd"}
    assert min(accuracy.values()) > 0.5
