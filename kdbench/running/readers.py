"""The networks of a cell, and the readers of what its method requires of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.data.stream import torch_seed
from kdbench.given import GIVEN
from kdbench.method import Method
from kdbench.networks.build import build_network
from kdbench.networks.maps import FeatureMap, PairedBy, feature_maps, match_maps, paired_by, stem_maps
from kdbench.networks.outputs import MAPPED, OutputReader
from kdbench.records.parts import Match
from kdbench.running.own_weights import load_own_weights
from kdbench.running.plan import Cell

STAGED = MAPPED - {"stem"}


@dataclass(frozen=True)
class Networks:
    """Student and teachers, on the CPU.

    Attributes:
        teachers: the pair's own first; none for a method that reads none.
        maps: feature maps of student and teacher that belong together; `by` what they were paired.
        stems: by role, the map of its stem where the method reads it and the network offers one.
        readers: of the "student", and of the "teacher" where its outputs are required.
        team: of further teachers.
        example: (1, C, H, W), an image of the suite.
    """

    student: Any  # timm models, whose interfaces beyond nn.Module's are not typed
    teachers: Sequence[Any]
    maps: list[tuple[FeatureMap, FeatureMap]]
    by: PairedBy
    stems: dict[str, list[FeatureMap]]
    readers: dict[str, OutputReader]
    team: dict[str, OutputReader]
    example: Tensor

    def matching(self) -> list[Match]:
        """The pairs of feature maps, as a record shows them."""
        return [Match(student=str(s), teacher=str(t), by=self.by) for s, t in self.maps] if self.teachers else []

    def maps_of(self, role: str) -> list[FeatureMap]:
        """The student's or the teacher's own maps; none of another role."""
        return {"student": [s for s, _ in self.maps], "teacher": [t for _, t in self.maps]}.get(role, [])


def build_networks(cell: Cell, cls: type[Method], teachers: Sequence[nn.Module]) -> Networks:
    """The student with its initial weights, beside its teachers.

    Raises:
        NotApplicable: the method asks for outputs that they do not have.
    """
    suite = cell.suite
    example = torch.zeros(1, suite.data.channels, *suite.data.image_size)
    has_own = cell.is_teacher and cell.student in suite.weights
    pretrained = not has_own and (suite.teachers if cell.is_teacher else suite.students) == "pretrained"
    student: Any = build_network(suite, cell.student, torch_seed(cell.stream, cell.seed, "student"), pretrained)
    if has_own:
        student.weights_from = load_own_weights(suite, cell.student, student)
    teacher: Any = teachers[0] if teachers else None
    maps, by = paired_maps(cell, cls, student, teacher, example)
    stems = {
        role: stem_maps(network, example)
        for role, network in (("student", student), ("teacher", teacher))
        if network is not None and "stem" in outputs_of(cls, role)
    }
    wanted = outputs_of(cls, "teacher")
    own = OutputReader("student", student, outputs_of(cls, "student"), [s for s, _ in maps], stems.get("student", []))
    readers = {"student": own}
    if teacher is not None and wanted:
        readers["teacher"] = OutputReader("teacher", teacher, wanted, [t for _, t in maps], stems.get("teacher", []))
    team = {
        f"teacher {n}": OutputReader("teacher", other, (wanted | {"logits"}) - MAPPED)
        for n, other in enumerate(teachers[1:], start=2)
    }
    return Networks(student, teachers, maps, by, stems, readers, team, example)


def outputs_of(cls: type[Method], role: str) -> set[str]:
    """Which outputs of a network the method reads."""
    return {output.split(".")[1] for output in cls.requires - GIVEN if output.startswith(f"{role}.")}


def paired_maps(
    cell: Cell, cls: type[Method], student: Any, teacher: Any, example: Tensor
) -> tuple[list[tuple[FeatureMap, FeatureMap]], PairedBy]:
    """The feature maps of student and teacher that belong together, and by what; the student's own without others.

    Raises:
        NotApplicable: they cannot be paired.
    """
    if outputs_of(cls, "teacher") & STAGED and teacher is not None:
        names = (f"student {cell.student}", f"teacher {cell.teacher.model}") if cell.teacher else ("student", "teacher")
        own, others = feature_maps(student, example), feature_maps(teacher, example)
        return match_maps(own, others, names), paired_by(own, others)
    if outputs_of(cls, "student") & STAGED:
        return [(m, m) for m in feature_maps(student, example)], "position"
    return [], "position"
