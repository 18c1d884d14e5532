"""Deep mutual learning with peers of another architecture (Zhang et al. 2018)."""

from __future__ import annotations

from kdbench_methods.dml import DML


class DMLMixed(DML):
    """Mutual learning of the student and untrained networks of the teacher's architecture.

    The loss is that of `dml`. Peers start from initial weights, as in the paper's and the survey's pairs of two
    architectures; the trained teacher is not read.

    As the authors' code (github.com/YingZhangDUT/Deep-Mutual-Learning, train_models.py, commit 34a2058), whose networks
    may be of any architectures (--model_name); see `dml` for what differs on purpose.
    """

    name, version = "dml_mixed", 1
    requires = frozenset({"student.logits", "teacher.network"})
    deviations = (*DML.deviations, "the teacher's architecture is used, its trained weights are not read")
    peer_role = "teacher"
