"""The methods of the survey's tables beyond their losses: what they share, match, average and decline."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdbench import NotApplicable, Outputs, OwnNetwork, Shapes
from kdbench.networks.build import build_network
from kdbench.networks.maps import feature_maps
from kdbench.networks.outputs import OutputReader
from kdbench.suites import load_suite
from kdbench_methods.dcm import DCM, divergences
from kdbench_methods.jointrd import JointRD
from kdbench_methods.mgd import MGD, matching, strongest, unlikeness
from kdbench_methods.pad_l2 import PADL2
from kdbench_methods.pcl import PCL
from kdbench_methods.rocket import Rocket, share_convolutions
from kdbench_methods.tofd import TOFD, lacks
from tests.methods.small import CLASSES, small_setup

MAPS = ((4, 8, 8), (6, 4, 4), (8, 2, 2))


def network(seed: int) -> Any:
    return build_network(load_suite("digits"), "resnet8_w4", seed)


def test_networks_of_one_family_share_their_convolutions_and_nothing_else() -> None:
    light, booster = network(0), network(1)
    share_convolutions(light, booster)
    shared = {name for name, weight in booster.named_parameters() if weight is dict(light.named_parameters())[name]}
    convolutions = {f"{name}.weight" for name, module in light.named_modules() if isinstance(module, nn.Conv2d)}
    assert shared == convolutions
    assert convolutions


def test_convolutions_of_other_shapes_are_not_shared() -> None:
    light, booster = network(0), build_network(load_suite("digits"), "resnet8", 1)
    own = list(booster.parameters())
    share_convolutions(light, booster)
    assert all(a is b for a, b in zip(own, booster.parameters(), strict=True))


def test_a_matching_is_the_cheapest_that_gives_each_channel_equally_many(random: Any) -> None:
    cost = random(2, 5).abs()  # the fifth channel of the teacher is left over
    found = matching(cost)

    def total(order: Any) -> float:
        return sum(cost[i % 2, channel].item() for i, channel in enumerate(order))

    assert sorted(found.tolist()) == [0, 1, 2, 3]
    assert total(found.tolist()) == pytest.approx(min(map(total, permutations(range(4)))))


def test_channels_are_alike_whose_positions_point_one_way(random: Any) -> None:
    teacher = random(3, 2, 4, 4)
    student = teacher.flip(1) * 5
    cost = unlikeness(student, teacher)
    assert cost.diagonal().tolist() == pytest.approx(unlikeness(teacher, teacher)[[1, 0], [0, 1]].tolist())
    assert [cost[0, 1].item(), cost[1, 0].item()] == pytest.approx([0, 0], abs=1e-12)
    assert matching(cost).tolist() == [1, 0]


def test_the_strongest_value_keeps_its_sign() -> None:
    grouped = torch.tensor([1.0, -3.0, 2.0])[None, :, None, None, None]
    assert strongest(grouped).item() == -3


def test_the_matching_is_made_anew_before_every_second_epoch(random: Any) -> None:
    made: list[int] = []
    method = built(
        MGD, Shapes("student", pre_activations=((2, 2, 2),)), Shapes("teacher", pre_activations=((4, 2, 2),))
    )
    method.costs = lambda: made.append(1) or [torch.rand(2, 4)]  # type: ignore[func-returns-value]
    student = nn.Linear(1, 1).train()
    for epoch in range(4):
        method.before_epoch("", epoch, student)
    assert len(made) == 2
    assert student.training


def test_a_wider_students_maps_cannot_be_matched() -> None:
    with pytest.raises(NotApplicable, match="more channels"):
        built(MGD, Shapes("student", pre_activations=((8, 2, 2),)), Shapes("teacher", pre_activations=((4, 2, 2),)))


@pytest.mark.parametrize("epochs", [1, 2, 3, 30])
def test_both_parts_of_pad_last_as_long_as_one_training(epochs: int) -> None:
    method = built(PADL2, Shapes("student", embedding=4), Shapes("teacher", embedding=4), epochs=epochs)
    both = [*method.stages(), method.main(epochs)]
    assert sum(stage.epochs for stage in both) == max(2, epochs)
    assert all(stage.epochs >= 1 for stage in both)


def test_the_teachers_heads_learn_for_a_quarter_of_the_epochs() -> None:
    shapes = {"embedding": 8, "features": MAPS}
    method = built(TOFD, Shapes("student", **shapes), Shapes("teacher", **shapes), epochs=20)
    assert [stage.epochs for stage in method.stages()] == [5]


def test_an_orthogonal_link_lacks_nothing() -> None:
    assert lacks(torch.linalg.qr(torch.randn(4, 4))[0]).item() == pytest.approx(0, abs=1e-5)
    assert lacks(torch.zeros(2, 3)).item() == pytest.approx(2**0.5 + 3**0.5)


def test_divergences_are_of_every_pair_of_classifiers(random: Any) -> None:
    own, others = [random(4, 3, seed=i) for i in (0, 1)], [random(4, 3, seed=2)]
    expected = sum(
        (t.softmax(1) * (t.log_softmax(1) - s.log_softmax(1))).sum(dim=1).mean() for s in own for t in others
    )
    assert divergences(own, others).item() == pytest.approx(float(expected))
    assert divergences(others, others).item() == pytest.approx(0, abs=1e-12)


def test_a_student_of_two_maps_has_one_branch() -> None:
    two = Shapes("student", features=MAPS[1:])
    method = built(DCM, two, Shapes("teacher", features=MAPS), network=nothing, blocks=1)
    assert (len(method.branches_s), len(method.branches_p)) == (1, 2)


def nothing(role: str) -> OwnNetwork:
    return OwnNetwork(nn.Identity(), lambda images: Outputs(role), nullcontext)  # type: ignore[arg-type]


@pytest.mark.parametrize(("step", "kept"), [(0, 0.0), (1, 0.0), (4, 0.75), (1000, 0.9)])
def test_the_means_follow_the_weights_and_forget_their_start(step: int, kept: float) -> None:
    student, mean = network(0), network(1)
    shapes = Shapes("student", embedding=16, features=MAPS)
    own = OwnNetwork(mean, lambda images: Outputs("student"), nullcontext)  # type: ignore[arg-type]
    method = built(PCL, shapes, Shapes("teacher"), network=lambda role: own, student_network=student, mean_decay=0.9)
    before = next(mean.parameters()).clone()
    method.follow(torch.tensor(step))
    weight = next(student.parameters())
    assert torch.allclose(next(mean.parameters()), kept * before + (1 - kept) * weight, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in mean.parameters())


def test_a_teacher_goes_on_from_its_own_map_to_its_own_outputs() -> None:
    teacher = network(0).eval()
    images = torch.randn(4, 1, 8, 8)
    maps = feature_maps(teacher, images[:1])
    reader = OutputReader("teacher", teacher, {"logits", "embedding", "features", "pre_activations"}, maps)
    whole = reader(images)
    for position, feature in enumerate(whole.features):
        rest = reader.from_map(position, feature)
        assert torch.equal(rest.logits, whole.logits)
        assert torch.equal(rest.embedding, whole.embedding)
        for name in ("features", "pre_activations"):
            later: list[Tensor] = getattr(whole, name)[position + 1 :]
            assert all(map(torch.equal, getattr(rest, name), later))
            assert len(getattr(rest, name)) == len(later)


def test_a_transformer_cannot_go_on_from_a_map() -> None:
    teacher = build_network(load_suite("digits"), "vit", 0)
    maps = feature_maps(teacher, torch.zeros(1, 1, 8, 8))
    with pytest.raises(NotApplicable, match="VisionTransformer"):
        OutputReader("teacher", teacher, {"logits", "features"}, maps).from_map(0, torch.zeros(1, *maps[0].shape))


def test_a_student_whose_maps_do_not_fit_the_teacher_is_declined() -> None:
    shapes = {"features": MAPS, "pre_activations": MAPS}
    other = {"features": ((5, 8, 8), *MAPS[1:]), "pre_activations": MAPS}
    with pytest.raises(NotApplicable, match="not its own"):
        built(JointRD, Shapes("student", **other), Shapes("teacher", **shapes))


def test_a_booster_starts_from_weights_of_its_own() -> None:
    light, booster = network(0), network(1)
    own = OwnNetwork(booster, lambda images: Outputs("teacher"), nullcontext)  # type: ignore[arg-type]
    method = built(
        Rocket, Shapes("student"), Shapes("teacher"), network=lambda role: own, student_network=light, share=False
    )
    assert not {id(p) for p in method.parameters()} & {id(p) for p in light.parameters()}


def built(cls: Any, student: Shapes, teacher: Shapes, **given: Any) -> Any:
    """A method on networks of given shapes; what is no field of `Setup` is a parameter."""
    fields = {"network", "student_network", "epochs"}
    params = {name: value for name, value in given.items() if name not in fields}
    method = cls(cls.Params.model_validate(params))
    setup = {name: value for name, value in given.items() if name in fields}
    method.build(small_setup(student=student, teacher=teacher, num_classes=CLASSES, **setup))
    return method
