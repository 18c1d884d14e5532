"""Which methods a suite is for: those that teach a student, that distil its training set, or that learn its tasks."""

from __future__ import annotations

from collections.abc import Collection

from kdbench.errors import KdbenchError
from kdbench.plugins import load_method
from kdbench.running.teachers import BASELINE
from kdbench.suite import Suite
from kdbench.suites import list_suites, load_suite
from kdbench.tasks import FINE_TUNING, TASKS


def check_kinds(suite: Suite, methods: Collection[str]) -> None:
    """Methods are of the suite's kind: with tasks, of distilled data, or neither.

    Raises:
        KdbenchError: names the first method of another kind.
    """
    check_distilling(suite, methods)
    check_tasks(suite, methods)


def check_distilling(suite: Suite, methods: Collection[str]) -> None:
    """Methods that distil the data are for suites of distilled data, others for other suites.

    The plain student stands on both: it learns from the whole training set.

    Raises:
        KdbenchError: names the first method of the other kind.
    """
    for name in methods:
        distils = load_method(name).distils_data()
        if distils and suite.distilled is None:
            raise KdbenchError(
                f"Method '{name}' distils the training set, and suite '{suite.name}' has no table [distilled]. "
                f"Run it on such a suite: kdbench run --method {name} --suite digits-distilled"
            )
        if suite.distilled is not None and not distils and name != BASELINE:
            raise KdbenchError(
                f"Suite '{suite.name}' is for methods that distil the training set, and '{name}' teaches a student. "
                f"Run it on another suite: kdbench run --method {name} --suite digits"
            )


def check_tasks(suite: Suite, methods: Collection[str]) -> None:
    """Methods for tasks are trained on suites that have them, others on those that have none.

    Raises:
        KdbenchError: one is not; says which are.
    """
    for name in methods:
        for_tasks = TASKS in load_method(name).requires
        if for_tasks and not suite.tasks:
            known = ", ".join(other for other in list_suites() if load_suite(other).tasks)
            raise KdbenchError(
                f"Method '{name}' learns classes task after task, and suite '{suite.name}' has no [tasks]. Suites with "
                f"tasks: {known}"
            )
        if suite.tasks and not for_tasks and name != FINE_TUNING:
            raise KdbenchError(
                f"Suite '{suite.name}' has [tasks], and method '{name}' knows of none. Methods for tasks require "
                f"'{TASKS}' (kdbench show METHOD), and '{FINE_TUNING}' is fine-tuning there"
            )
