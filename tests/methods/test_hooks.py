"""Methods that use the contract's hooks: stages, other images, the teacher's classifier, another network deployed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Outputs
from kdbench.checks.bench import Bench, batches, evaluate
from kdbench.networks.build import count_macs, count_parameters
from kdbench.records.parts import Network
from kdbench.running.describe import set_apart
from kdbench.suite import Suite
from kdbench_methods.fitnets import FitNets
from kdbench_methods.fsp import FSP
from kdbench_methods.ft import FT
from kdbench_methods.kd import kd_loss
from kdbench_methods.mixup import Mixup
from kdbench_methods.simkd import Reused, SimKD
from kdbench_methods.srrl import SRRL
from kdbench_methods.sskd import SSKD, cosines, kept_answers, masked_kd_loss, right_answers


def first_batch(bench: Bench, **params: float) -> tuple[dict[str, Tensor], Batch, list[Outputs]]:
    trainer = bench.trainer(params=params)
    return evaluate(trainer, list(batches(trainer))[-3])


def test_simkd_deploys_the_teachers_classifier_on_the_projected_map() -> None:
    bench = Bench(SimKD)
    trainer = bench.trainer()
    assert bench.teacher is not None
    assert isinstance(trainer.deployed, Reused)
    trainer.deployed.eval()
    images = torch.rand(3, 1, 8, 8)
    projected = trainer.method.project(trainer.read_student(images).features[-1])
    expected = bench.teacher.get_classifier()(projected.mean(dim=(2, 3)))  # type: ignore[operator]
    assert torch.allclose(trainer.deployed(images), expected)
    assert torch.equal(
        trainer.predict()[:3].argmax(1), trainer.deployed(next(iter(trainer.images.test()))[:3]).argmax(1)
    )


def test_simkd_counts_what_it_adds_and_trains_no_classifier() -> None:
    trainer = Bench(SimKD).trainer()
    added = count_parameters(trainer.deployed) - count_parameters(trainer.student)
    assert added == count_parameters(trainer.method.project) + count_parameters(trainer.method.classifier)
    assert not any(p.requires_grad for p in trainer.method.classifier.parameters())


def test_simkd_says_on_the_record_what_sets_its_network_apart(digits: Suite) -> None:
    trainer = Bench(SimKD).trainer()
    example = torch.zeros(1, 1, 8, 8)
    parameters, macs = count_parameters(trainer.deployed), count_macs(trainer.deployed, example)
    found = Network.model_construct(role="student", parameters=parameters, macs=macs)
    cell: Any = SimpleNamespace(suite=digits)
    [network] = set_apart(cell, trainer, [found])
    own = count_parameters(trainer.student)
    assert network.differs is not None
    assert network.differs[0] == f"{parameters:,} parameters, where the student has {own:,}"
    assert any("weights of its own, such as 'classifier.bias'" in said for said in network.differs)
    assert set_apart(cell, Bench(SRRL).trainer(), [found]) == [found]


def test_simkd_is_the_mean_squared_error_of_projected_maps() -> None:
    trainer = Bench(SimKD).trainer(params={"kd_weight": 1.0, "ce_weight": 0.5})
    first = next(batches(trainer))
    trainer.method.eval()
    terms, batch, [student, teacher] = evaluate(trainer, first)
    projected = trainer.method.project(student.features[-1])
    logits = trainer.method.classifier(projected.mean(dim=(2, 3)))
    assert terms["map"].item() == pytest.approx((projected - teacher.features[-1]).square().mean().item())
    assert terms["ce"].item() == pytest.approx(0.5 * F.cross_entropy(logits, batch.labels).item())
    assert terms["kd"].item() == pytest.approx(kd_loss(logits, teacher.logits, 4.0).item())


def test_srrl_asks_the_teachers_classifier_about_the_students_embedding() -> None:
    bench = Bench(SRRL)
    trainer = bench.trainer()
    assert bench.teacher is not None
    batch = next(batches(trainer))
    trainer.method.eval()
    terms, _, [student, teacher] = evaluate(trainer, batch)
    e_s = trainer.method.linear(student.embedding)
    norm = trainer.method.norm
    e_s = F.relu((e_s - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias)
    logits = bench.teacher.get_classifier()(e_s)  # type: ignore[operator]
    assert terms["embedding"].item() == pytest.approx((e_s - teacher.embedding).square().mean().item(), rel=1e-5)
    assert terms["regression"].item() == pytest.approx((logits - teacher.logits).square().mean().item(), rel=1e-5)


def test_mixup_mixes_images_and_labels_by_one_share() -> None:
    trainer = Bench(Mixup).trainer()
    given = next(batches(trainer))
    terms, batch, [student, _] = evaluate(trainer, given)
    share, partner = batch.extra["share"], batch.extra["partner"]
    assert batch.view is None
    assert 0 <= share <= 1
    soft = share * F.one_hot(batch.labels, 10) + (1 - share) * F.one_hot(partner, 10)
    assert terms["ce"].item() == pytest.approx(F.cross_entropy(student.logits, soft).item(), rel=1e-5)
    assert torch.allclose(batch.images.mean(), given.images.mean(), atol=1e-6)  # each image is a partner once
    assert not torch.equal(batch.images, given.images)


def test_sskd_sees_four_rotations_and_evaluates_the_upright_ones() -> None:
    trainer = Bench(SSKD).trainer()
    given = list(batches(trainer))[-3]
    terms, batch, [student, teacher] = evaluate(trainer, given)
    n = len(given.labels)
    assert batch.images.shape == (4 * n, 1, 8, 8)
    assert torch.equal(batch.images[:n], given.images)
    for quarters in (1, 2, 3):
        crops = torch.stack([trainer.method.images(given.index, torch.full_like(given.index, v)) for v in range(9)])
        turned = batch.images[quarters * n : (quarters + 1) * n].rot90(-quarters, dims=(2, 3))
        seen = (crops == turned).flatten(2).all(dim=2)  # by which of its nine crops each image was made
        assert seen.any(dim=0).all()
        assert len(seen.int().argmax(dim=0).unique()) > 1
    assert terms["ce"].item() == pytest.approx(0.1 * F.cross_entropy(student.logits[:n], given.labels).item())
    rotated = kd_loss(student.logits[n:], teacher.logits[n:], 4.0)
    assert terms["rotated"].item() == pytest.approx(2.7 * rotated.item())


def test_sskds_pretext_runs_and_moves_nothing_of_the_student(tmp_path: Path) -> None:
    trainer = Bench(SSKD).trainer()
    trainer.replan([replace(trainer.stages[0], epochs=1), replace(trainer.stages[1], epochs=0)])
    before = {name: value.clone() for name, value in trainer.student.state_dict().items()}
    trainer.train(tmp_path / "checkpoint")
    assert all(torch.equal(value, before[name]) for name, value in trainer.student.state_dict().items())


def test_sskds_cosines_are_of_every_rotated_with_every_upright_image() -> None:
    e = torch.randn(12, 5)
    found = cosines(e)
    assert found.shape == (9, 3)
    for rotated in range(9):
        for upright in range(3):
            expected = F.cosine_similarity(e[3 + rotated], e[upright], dim=0)
            assert found[rotated, upright].item() == pytest.approx(expected.item(), abs=1e-6)
    assert right_answers(torch.zeros(3)).tolist() == [0, 1, 2] * 3


def test_sskd_leaves_out_the_worst_of_the_wrong_answers() -> None:
    answers = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [2.0, 3.0, 1.0]])
    right = torch.tensor([0, 1, 2, 2, 0])  # ranks 0, 1, 2, 0, 1: three wrong ones, of which two are kept
    assert kept_answers(answers, right, 0.75).tolist() == [True, True, False, True, True]
    assert kept_answers(answers, right, 0.0).tolist() == [True, False, False, True, False]
    kept = torch.tensor([True, False, True, True, False])
    s = torch.randn(5, 3)
    expected = kd_loss(s[kept], answers[kept], 0.5)
    assert masked_kd_loss(s, answers, kept, 0.5).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("cls", "params", "stage", "moves", "stays"),
    [
        (FitNets, {"hint_epochs": 1}, "hint", "student.layer2", "student.fc"),
        (FSP, {}, "flow", "student.layer3", "student.fc"),
        (FT, {}, "paraphraser", "method.encode", "student."),
        (SSKD, {}, "pretext", "method.head_t", "student.fc"),
    ],
)
def test_a_stage_trains_what_its_loss_reaches_and_nothing_else(
    cls: type, params: dict[str, float], stage: str, moves: str, stays: str, tmp_path: Path
) -> None:
    trainer = Bench(cls).trainer(params=params)
    trainer.replan([replace(trainer.stages[0], epochs=1), replace(trainer.stages[1], epochs=0)])
    assert trainer.stages[0].name == stage
    weights = {f"student.{n}": p for n, p in trainer.student.named_parameters()}
    weights |= {f"student.{n}": b for n, b in trainer.student.named_buffers()}
    weights |= {f"method.{n}": p for n, p in trainer.method.named_parameters()}
    before = {name: p.detach().clone() for name, p in weights.items()}
    trainer.train(tmp_path / "checkpoint")
    changed = {name for name, p in weights.items() if not torch.equal(p, before[name])}
    assert any(name.startswith(moves) for name in changed)
    assert not any(name.startswith(stays) for name in changed)
    assert all(name.startswith(f"{stage}.") for name in trainer.curve)


def test_the_main_stage_sees_the_batches_that_it_would_see_alone() -> None:
    staged, alone = Bench(FSP).trainer(), Bench(Mixup).trainer()
    main = list(batches(staged))[-3:]
    assert [batch.index.tolist() for batch in main] == [batch.index.tolist() for batch in batches(alone)]
    assert [batch.epoch.item() for batch in main] == [0, 0, 0]
