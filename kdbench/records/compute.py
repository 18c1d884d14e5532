"""What a training computes, whoever computed its teacher's outputs."""

from __future__ import annotations

from collections.abc import Mapping

from kdbench.records.record import Record

STORED, STUDENT, TEACHER = "stored", "student", "teacher"  # a teacher's outputs; names of passes


def training_flops(record: Record, macs: Mapping[str, int]) -> int | None:
    """Floating-point operations of a training, as if its teacher had been live; None where that is not known.

    Which of a store's outputs a training computed itself depends on what others had computed before, so all count that
    it asked for: one for each image that its student saw. Where stages or assistants ask for others that is not known.

    Args:
        macs: of teachers for an image, by the hash of their weights.
    """
    cost = record.cost
    if cost is None or not cost.flops:
        return None
    read = [teacher.sha256 for teacher in record.teachers if teacher.outputs == STORED]
    if not read:
        return cost.flops
    passes = cost.passes or {}
    staged = cost.main_epochs is not None or "assistants" in record.method.requires
    if staged or len(read) > 1 or read[0] not in macs or STUDENT not in passes:
        return None
    computed = passes[TEACHER].forward if TEACHER in passes else 0
    return cost.flops + 2 * macs[read[0]] * max(0, passes[STUDENT].forward - computed)
