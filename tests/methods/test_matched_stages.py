"""Each method that compares maps trains all stages that are matched, where sizes and strides differ; SimKD, FSP."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from kdbench import Method, NotApplicable, Shapes
from kdbench.checks.bench import batches, evaluate
from kdbench.data.small import Dataset
from kdbench.method import Outputs
from kdbench.networks.maps import feature_maps
from kdbench.plugins import list_plugins, load_method
from kdbench.running.plan import assemble
from kdbench.running.prepare import prepare
from kdbench.running.timing import untrained_teachers
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Model, Pair
from kdbench.training.trainer import Trainer
from kdbench_methods.fitnets import FitNets
from kdbench_methods.fsp import FSP, flows
from kdbench_methods.simkd import SimKD
from tests.methods.small import small_setup

MODELS: dict[str, dict[str, Any]] = {
    "resnet8": {"name": "cifar_resnet8"},
    "shufflenet": {"name": "cifar_shufflenetv1", "widths": (36, 72, 144)},
    "resnet10": {"name": "cifar_resnet18", "blocks": (1, 1, 1, 1), "widths": (8, 8, 16, 32, 64)},
    "mobilenet": {"name": "cifar_mobilenetv2"},
    "timm_resnet": {"name": "test_resnet", "input_size": (64, 64)},
    "mixer": {"name": "gmlp_ti16_224", "img_size": 64, "input_size": (64, 64)},
}
SHIFTED = [("resnet8", "shufflenet"), ("resnet10", "mobilenet")]  # equally many stages, at other strides
BATCH = 8
EQUAL_CHANNELS = {"fsp", "jointrd", "mgd"}  # which they ask for, or at most as many as the teacher's
HINTS = {"fitnets": 1}  # the one map that it compares


@cache
def suite() -> Suite:
    cifar = load_suite("cifar100")
    recipe = cifar.recipe.model_copy(update={"precision": "float32", "batch_size": BATCH})
    data = cifar.data.model_copy(update={"num_classes": 10, "train": BATCH, "test": BATCH})
    models = {name: Model.model_validate(spec) for name, spec in MODELS.items()}
    return cifar.model_copy(update={"models": models, "recipe": recipe, "data": data, "methods": {}})


def training(cls: type[Method], teacher: str, student: str) -> Trainer:
    """A training before its first step, on one batch of random images."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (BATCH, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.arange(BATCH)
    pair = Pair(teacher=teacher, student=student)
    cell = assemble(suite(), cls, pair, 0, cls.Params().model_dump(mode="json"), {}, source="")
    teachers = untrained_teachers(suite(), cls, pair)
    trainer, _ = prepare(cell, Dataset(images, labels, images, labels), teachers, torch.device("cpu"), cls=cls)
    trainer.student.train()
    trainer.method.train()
    return trainer


def reached(trainer: Trainer) -> list[bool]:
    """For each stage of the student, whether the method's own terms, in any of its trainings, give it a gradient."""
    stages = [m.name for m in feature_maps(trainer.student, torch.zeros(1, 3, 32, 32))]
    found = [False] * len(stages)
    for batch in batches(trainer):
        terms, *_ = evaluate(trainer, batch)
        own = [value for name, value in terms.items() if name not in ("ce", "kd")]
        trainer.optimizer.zero_grad(set_to_none=True)
        torch.stack(own or list(terms.values())).sum().backward()
        if own:
            for i, name in enumerate(stages):
                gradients = [p.grad for p in trainer.student.get_submodule(name).parameters() if p.grad is not None]
                found[i] |= any(bool(g.any()) for g in gradients)
    return found


def compares_maps(name: str) -> bool:
    requires = load_method(name).requires
    return all(requires & {f"{role}.features", f"{role}.pre_activations"} for role in ("student", "teacher"))


COMPARING = [name for name in sorted(list_plugins()) if compares_maps(name)]


@pytest.mark.parametrize("pair", SHIFTED, ids=":".join)
@pytest.mark.parametrize("name", COMPARING)
def test_every_matched_stage_of_the_student_gets_a_gradient(name: str, pair: tuple[str, str]) -> None:
    cls = load_method(name)
    teacher, student = (pair[0], pair[0]) if name in EQUAL_CHANNELS else pair
    found = reached(training(cls, teacher, student))
    assert found == [i <= HINTS.get(name, len(found)) for i in range(len(found))]


def test_the_hint_of_a_network_of_four_stages_is_the_second_as_in_the_literature() -> None:
    vgg8, resnet50 = ((128, 16, 16), (256, 8, 8), (512, 4, 4)), ((256, 32, 32), (512, 16, 16), (1024, 8, 8))
    method = FitNets(FitNets.Params())
    shapes = {"student": Shapes("student", features=(*vgg8, (512, 4, 4)))}
    method.build(small_setup(**shapes, teacher=Shapes("teacher", features=(*resnet50, (2048, 4, 4)))))
    student = [torch.randn(2, *shape) for shape in vgg8]
    assert method.regressor(student[method.hint]).shape == (2, *resnet50[1])


@pytest.mark.parametrize(("stem", "count"), [(((4, 8, 8),), 2), (((5, 8, 8),), 1), ((), 1)])
def test_the_flow_starts_at_stems_of_equally_many_channels(stem: tuple[tuple[int, int, int], ...], count: int) -> None:
    features, teacher_stem = ((4, 8, 8), (6, 4, 4)), ((4, 8, 8),)
    method = FSP(FSP.Params())
    student = Shapes("student", features=features, stem=stem)
    method.build(small_setup(student=student, teacher=Shapes("teacher", features=features, stem=teacher_stem)))
    for own_stem in (stem, teacher_stem):
        shapes = {"stem": own_stem, "features": features}
        outputs = Outputs("network", **{what: [torch.ones(2, *s) for s in found] for what, found in shapes.items()})
        assert [tuple(f.shape) for f in flows(method.layers(outputs))] == [(2, 4, 4), (2, 6, 4)][-count:]


def test_simkd_reuses_the_classifier_of_a_teacher_with_an_input_size_of_its_own() -> None:
    trainer = training(SimKD, "timm_resnet", "resnet8")
    [batch] = batches(trainer)
    terms, *_ = evaluate(trainer, batch)
    assert terms["map"].isfinite()


def test_simkd_declines_a_teacher_that_does_not_classify_the_mean_of_its_map() -> None:
    with pytest.raises(NotApplicable, match="does not read the mean of its last map"):
        training(SimKD, "mixer", "resnet8")


def test_simkd_is_deployed_with_the_resizing_that_it_was_trained_with() -> None:
    trainer = training(SimKD, "resnet10", "resnet8")  # the student's last map is twice as large as the teacher's
    method, images = trainer.method.eval(), torch.randn(2, 3, 32, 32)
    assert isinstance(method, SimKD)
    read = trainer.readers["student"]
    trainer.student.eval()
    with torch.no_grad():
        [*_, feature] = read(images).features
        assert feature.shape[2:] == (8, 8)
        projected = method.project(F.adaptive_avg_pool2d(feature, 4))
        assert projected.shape == (2, 64, 4, 4)
        expected = method.classifier(projected.mean(dim=(2, 3)))
        assert torch.allclose(method.deployed(trainer.student, read)(images), expected, atol=1e-6)
