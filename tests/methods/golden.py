"""Runs a method through its public contract on closed-form inputs, to be compared with its authors' code.

A case is a file of `goldens/`, or an item of the list in it:

    source      repository, commit and files of the original
    how         what was run of it, in plain words
    params      the method's, where they differ from its defaults
    setup       fields of `Setup`, where they matter: epochs, batch_size, train_labels, ...; of `team`, how many
    student     shapes of its outputs: logits [B, C], the others without B: embedding D, class_maps [C, H, W],
    teacher     head_logits [C, C], attention [[N, D, heads], ...], features, pre_activations and stem
                [[C, H, W], ...]
    batch       labels, and index, epoch, progress and task where they matter; a list is one batch after another,
                without updates between them, of which the last one's loss counts
    stage       the stage's name, if not the main one
    buffers     names of the buffers that are set like weights (banks); the others begin as in `build`
    draws       {name of the method's function that draws: the tensor that it returns instead}
    terms       of the original, weighted as in its training loop; {"total": ...} alone where it has no parts
    gradients   norms of those of the original's total: by a student's output ("logits", "features.0"), by that of a
                network that the method made ("network.1.logits"), by the student's for images that the method reads
                beside the batch ("read.logits"), by a weight's name in the method, or by all weights ("weights")

Every tensor is x.flat[i] = 2 sin(a i + b) + 0.5 cos(0.37 a i^2 + b) in float64, where

                         student                         teacher
    logits               a = 0.7, b = 0.1                a = 0.9, b = 0.5
    embedding            a = 0.3, b = 0.2                a = 0.5, b = 0.9
    class maps           a = 0.13, b = 0.8               a = 0.23, b = 1.1
    logits of head l     a = 0.7 + 0.05 l,
                         b = 0.1 + 0.1 l
    attention l          as map l
    map l (from 0, the   a = 0.11 + 0.03 l,              a = 0.19 + 0.04 l,
    stem's is -1)        b = 0.3 + 0.1 l                 b = 0.6 + 0.1 l          (features and pre_activations alike)
    images               a = 0.41, b = 0.7
    weight k (from 0)    a = 0.37 + 0.01 k, b = 0.1 k, times 0.5 / sqrt(fan in), in the order of `named_parameters`,
                         then `buffers`; the fan in of (n, m, ...) is m * ..., of a vector 1
    a network given      weights and bias of its classifier: a = 0.43, b = 0.2 and 0.3, times 0.1
    in `Setup` itself
    teacher_from l       the 1 x 1 convolution to the teacher's last map before its ReLU: a = 0.43, b = 0.4 + l, times
                         0.1; of cases without such maps, as
    student_from         the 1 x 1 convolution to each later map l: a = 0.43, b = 0.4 + l, times 0.1, b larger by 0.2 of
                         the student's; then a classifier as of a network given

and b is larger by 0.3 n in the n-th batch (from 0), by k for the k-th network that the method makes (from 1) or that is
in its team, and by 0.5 for images that it reads beside the batch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Method, Outputs, Setup, Shapes
from kdbench.method import Stage
from tests.conftest import golden

GOLDENS = Path(__file__).parent / "goldens"
VECTORS = {
    "student": {"logits": (0.7, 0.1), "embedding": (0.3, 0.2), "class_maps": (0.13, 0.8)},
    "teacher": {"logits": (0.9, 0.5), "embedding": (0.5, 0.9), "class_maps": (0.23, 1.1)},
}
MAPS = {"student": (0.11, 0.03, 0.3), "teacher": (0.19, 0.04, 0.6)}  # a, what a level adds to it, b
IMAGES, IMAGE_SHAPE = (0.41, 0.7), (3, 8, 8)
Case = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """Terms of a loss, and the norms of its gradients by outputs and by weights."""

    terms: dict[str, float]
    outputs: dict[str, float]
    weights: dict[str, float]


def cases() -> Iterator[tuple[str, Case]]:
    """The method's name and the case, of all files."""
    for path in sorted(GOLDENS.glob("*.json")):
        content = json.loads(path.read_text())
        for case in content if isinstance(content, list) else [content]:
            yield path.stem, case


def run(cls: type[Method], case: Case) -> Found:
    """The loss of a case's last batch in its stage, and its gradients."""
    world = World(case)
    method = cls(cls.Params.model_validate(case.get("params", {})))
    torch.manual_seed(0)
    method.build(world.setup())
    world.built = True
    stages = {stage.name: stage for stage in (*method.stages(), method.main(world.epochs))}
    stage = stages[case.get("stage", "")]
    method.double().train()
    set_weights(method, case.get("buffers", []))
    for name, drawn in case.get("draws", {}).items():
        setattr(method, name, lambda *_, drawn=drawn, **__: torch.tensor(drawn))
    given = case["batch"] if isinstance(case["batch"], list) else [case["batch"]]
    for step, batch in enumerate(given):
        world.step = step
        terms, student = world.loss(method, stage, batch)
    leaves = {**flat(student), **world.flat_others()}
    weights = {name: weight for name, weight in method.named_parameters() if weight.requires_grad}
    norms = gradient_norms(torch.stack(list(terms.values())).sum(), leaves | weights)
    return Found(
        terms={name: value.item() for name, value in terms.items()},
        outputs={name: norms[name] for name in leaves},
        weights={name: norms[name] for name in weights},
    )


class World:
    """All that surrounds a method in a case.

    Attributes:
        step: which of the batches it is at.
        built: whether the method is; before that a small network answers for the teacher.
        networks: those that the method made.
    """

    def __init__(self, case: Case) -> None:
        self.shapes: dict[str, Case] = {role: case.get(role, {}) for role in ("student", "teacher")}
        self.given: Case = case.get("setup", {})
        self.epochs, self.step, self.built = self.given.get("epochs", 1), 0, False
        self.networks: list[StandIn] = []
        self.read_student = StandIn(self, "student", 0.5)

    def setup(self) -> Setup:
        classes = self.shapes["student"]["logits"][1]
        labels = self.given.get("train_labels", [i % classes for i in range(3 * classes)])
        team = range(1, 1 + self.given.get("team", 0))
        student, teacher = (Network(shapes, classes) for shapes in self.shapes.values())
        values = {
            "num_classes": classes,
            "mean": (0.0,),
            "std": (1.0,),
            "num_steps": 10,
            "device": torch.device("cpu"),
            "generator": torch.Generator().manual_seed(1),
            "image_shape": IMAGE_SHAPE,
            "network": self.network,
            "student_network": student,
            "teacher_network": teacher,
            "read_student": self.read_student,
            "read_teacher": lambda images: self.outputs("teacher", 0.5) if self.built else teacher.read(images),
            "student_from": lambda position, feature: self.from_map("student", position, feature),
            "teacher_from": self.teacher_from,
            "images": lambda index, view: self.images(len(index), 0.5),
            **self.given,
            "train_labels": torch.tensor(labels),
            "team": tuple(StandIn(self, "teacher", k) for k in team),
            "team_networks": tuple(Network(self.shapes["teacher"], classes, k) for k in team),
        }
        return Setup(**{role: setup_shapes(role, shapes) for role, shapes in self.shapes.items()}, **values)

    def network(self, role: str) -> StandIn:
        """What `Setup.network` makes."""
        self.networks.append(StandIn(self, role, len(self.networks) + 1))
        return self.networks[-1]

    def teacher_from(self, position: int, feature: Tensor) -> Outputs:
        """What the teacher makes of another map: its last by a 1 x 1 convolution, logits by its own classifier."""
        shapes, classes = self.shapes["teacher"], self.shapes["student"]["logits"][1]
        if "pre_activations" not in shapes:
            return self.from_map("teacher", position, feature)
        width, *size = shapes["pre_activations"][-1]
        weight = 0.1 * golden([width, feature.shape[1]], 0.43, 0.4 + position)
        last = torch.einsum("oc,bchw->bohw", weight.to(feature), F.adaptive_avg_pool2d(feature, size))
        classifier = Network({"embedding": width}, classes).classifier.to(feature)
        return Outputs("teacher", logits=classifier(last.relu().mean(dim=(2, 3))), pre_activations=[last])

    def from_map(self, role: str, position: int, feature: Tensor) -> Outputs:
        """What a network makes of another map: its later maps, one of the other, and logits by its own classifier."""
        shift, maps = 0.2 * (role == "student"), []
        for level, (width, *size) in enumerate(self.shapes[role]["features"]):
            if level > position:
                weight = 0.1 * golden([width, feature.shape[1]], 0.43, 0.4 + level + shift)
                feature = torch.einsum("oc,bchw->bohw", weight.to(feature), F.adaptive_avg_pool2d(feature, size))
                maps.append(feature)
        classes = self.shapes["student"]["logits"][1]
        classifier = Network({"embedding": feature.shape[1]}, classes, shift).classifier.to(feature)
        return Outputs(role, logits=classifier(feature.relu().mean(dim=(2, 3))), features=maps)

    def loss(self, method: Method, stage: Stage, given: Case) -> tuple[dict[str, Tensor], Outputs]:
        """The stage's loss of a batch, and the student's outputs."""
        batch = method.inputs(self.batch(given))
        requires = method.requires if stage.requires is None else stage.requires
        outputs = {}
        for role in ("student", "teacher"):
            what = {name.partition(".")[2] for name in requires if name.startswith(f"{role}.")}
            outputs[role] = self.outputs(role, 0, what)
        return stage.loss(batch, outputs["student"], outputs["teacher"]), outputs["student"]

    def batch(self, given: Case) -> Batch:
        size = len(given["labels"])
        return Batch(
            images=self.images(size),
            labels=torch.tensor(given["labels"]),
            index=torch.tensor(given.get("index", list(range(size)))),
            view=torch.zeros(size, dtype=torch.int64),
            epoch=torch.tensor(given.get("epoch", 0)),
            step=torch.tensor(0),
            progress=torch.tensor(given.get("progress", 0.0), dtype=torch.float64),
            task=given.get("task", 0),
            strong_images=self.images(size, 0.5),
        )

    def images(self, size: int, shift: float = 0) -> Tensor:
        a, b = IMAGES
        return golden([size, *IMAGE_SHAPE], a, b + shift + 0.3 * self.step)

    def outputs(self, role: str, shift: float, what: set[str] | None = None) -> Outputs:
        """A network's outputs, all or those named; the student's are leaves that keep their gradients."""
        shapes, shift = self.shapes[role], shift + 0.3 * self.step
        rows = shapes.get("logits", self.shapes["student"]["logits"])[0]
        made = {n: formula_output(role, n, s, rows, shift) for n, s in shapes.items() if what is None or n in what}
        outputs = Outputs(role, **made)
        for tensor in flat(outputs).values() if role == "student" else ():
            tensor.requires_grad_(torch.is_grad_enabled())
        return outputs

    def flat_others(self) -> dict[str, Tensor]:
        """What other networks said of the last batch, and the student of other images, as leaves."""
        others = {"read": self.read_student} | {f"network.{k}": made for k, made in enumerate(self.networks, 1)}
        return {
            f"{prefix}.{name}": tensor
            for prefix, other in others.items()
            if other.said is not None
            for name, tensor in flat(other.said).items()
            if tensor.requires_grad
        }


class StandIn(nn.Module):
    """Stands for a network: whatever the images, it says what the formula says."""

    model = nn.Module()  # of no weights

    def __init__(self, world: World, role: str, shift: float) -> None:
        super().__init__()
        self.world, self.role, self.shift = world, role if role == "teacher" else "student", shift
        self.said: Outputs | None = None

    def forward(self, images: Tensor) -> Outputs:
        self.said = self.world.outputs(self.role, self.shift)
        return self.said

    def frozen(self, images: Tensor) -> Outputs:
        return self.world.outputs(self.role, self.shift)


class Network(nn.Module):
    """A small network that classifies the mean of its one map, which stands for all others."""

    def __init__(self, shapes: Case, classes: int, shift: float = 0) -> None:
        super().__init__()
        width = shapes.get("embedding", 4)
        self.others = len(shapes.get("features", [])) - 1
        self.stem, self.classifier = nn.Conv2d(IMAGE_SHAPE[0], width, 1), nn.Linear(width, classes)
        with torch.no_grad():
            self.classifier.weight.copy_(0.1 * golden([classes, width], 0.43, 0.2 + shift))
            self.classifier.bias.copy_(0.1 * golden([classes], 0.43, 0.3 + shift))

    def get_classifier(self) -> nn.Linear:
        return self.classifier

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.stem(images).mean(dim=(2, 3)))

    def read(self, images: Tensor) -> Outputs:
        last = self.stem(images)
        return Outputs("teacher", logits=self(images), features=[*[last] * self.others, last])


def formula_output(role: str, name: str, shape: Any, rows: int, shift: float) -> Tensor | list[Tensor]:
    """One of a network's outputs for so many images, by its name and shape in the case."""
    if name in VECTORS[role]:
        a, b = VECTORS[role][name]
        size = [shape] if isinstance(shape, int) else shape[1:] if name == "logits" else shape
        return golden([rows, *size], a, b + shift)
    if name == "head_logits":
        return [golden([rows, c], 0.7 + 0.05 * level, 0.1 + 0.1 * level + shift) for level, c in enumerate(shape)]
    a, more, b = MAPS[role]
    levels = enumerate(shape, -1 if name == "stem" else 0)
    if name == "attention":
        shape = [[3, rows, *size] for *size, _ in shape]
        return [golden(s, a + more * level, b + 0.1 * level + shift) for level, s in enumerate(shape)]
    return [golden([rows, *s], a + more * level, b + 0.1 * level + shift) for level, s in levels]


@torch.no_grad()
def set_weights(method: nn.Module, buffers: list[str]) -> None:
    """Set all parameters and these buffers by the formula."""
    tensors = [*method.parameters(), *map(method.get_buffer, buffers)]
    for k, tensor in enumerate(tensors):
        tensor.copy_(formula_weight(list(tensor.shape), k))


def formula_weight(shape: list[int], k: int) -> Tensor:
    """The k-th weight."""
    fan_in = Tensor(shape[1:]).prod().item()
    return golden(shape, 0.37 + 0.01 * k, 0.1 * k) * 0.5 / fan_in**0.5


def gradient_norms(total: Tensor, leaves: dict[str, Tensor]) -> dict[str, float]:
    """L2 norms of the gradients of a loss by each leaf; 0 for one that it does not reach."""
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return {name: 0.0 if g is None else g.norm().item() for name, g in zip(leaves, found, strict=True)}


def flat(outputs: Outputs) -> dict[str, Tensor]:
    """Tensors by name: "logits", "features.0"."""
    found: dict[str, Tensor] = {}
    for name, value in outputs._values.items():
        found |= {f"{name}.{i}": f for i, f in enumerate(value)} if isinstance(value, list) else {name: value}
    return found


def setup_shapes(role: str, given: Case) -> Shapes:
    """Shapes as `Setup` has them: tuples, without the logits'."""
    shapes = {name: shape for name, shape in given.items() if name != "logits"}
    return Shapes(role, **{n: as_tuples(s) for n, s in shapes.items()})


def as_tuples(shape: Any) -> Any:
    return tuple(map(as_tuples, shape)) if isinstance(shape, list) else shape
