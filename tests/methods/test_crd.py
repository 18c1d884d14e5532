"""CRD equals a naive implementation written as loops from the paper, and keeps its banks as the paper says."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Outputs, Setup, Shapes
from kdbench_methods.crd import CRD

N, B, CLASSES, DIM = 30, 6, 3, 8
LABELS = torch.arange(N) % CLASSES


def build(**params: float) -> CRD:
    torch.manual_seed(0)
    method = CRD(CRD.Params(dim=DIM, **params))
    method.build(
        Setup(
            student=Shapes("student", embedding=5),
            teacher=Shapes("teacher", embedding=7),
            train_labels=LABELS,
            num_classes=CLASSES,
            mean=(0.0,),
            std=(1.0,),
            num_steps=10,
            device=torch.device("cpu"),
            generator=torch.Generator().manual_seed(1),
        )
    )
    return method.double()


def draw(step: int) -> tuple[Batch, Outputs, Outputs]:
    generator = torch.Generator().manual_seed(step)
    index = torch.randperm(N, generator=generator)[:B]

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    batch = Batch(random(B, 1, 8, 8), LABELS[index], index, index, *(torch.tensor(0),) * 2, torch.tensor(0.0))
    student = Outputs("student", logits=random(B, CLASSES), embedding=random(B, 5))
    return batch, student, Outputs("teacher", logits=random(B, CLASSES), embedding=random(B, 7))


def naive_direction(
    embedding: Tensor, bank: Tensor, index: Tensor, negatives: Tensor, z: float | None
) -> tuple[float, float]:
    """Loss and normalisation constant of one network against the other's bank, image by image."""
    scores = [
        [math.exp((embedding[i] @ bank[row]).item() / 0.07) for row in [int(index[i]), *negatives[i].tolist()]]
        for i in range(len(index))
    ]
    if z is None:
        z = N * sum(map(sum, scores)) / sum(map(len, scores))
    noise, eps, total = negatives.shape[1] / N, 1e-7, 0.0
    for positive, *others in scores:
        total -= math.log(positive / z / (positive / z + noise + eps))
        total -= sum(math.log(noise / (other / z + noise + eps)) for other in others)
    return total / len(index), z


def test_the_loss_equals_loops_over_two_steps() -> None:
    method = build()
    z_s = z_t = None
    for step in range(2):
        batch, student, teacher = draw(step)
        e_s = F.normalize(method.embed_student(student.embedding), dim=1)
        e_t = F.normalize(method.embed_teacher(teacher.embedding), dim=1)
        state = method.generator.get_state()
        negatives = method.draw_negatives(batch.labels)
        method.generator.set_state(state)
        loss_s, z_s = naive_direction(e_s, method.teacher_bank.clone(), batch.index, negatives, z_s)
        loss_t, z_t = naive_direction(e_t, method.student_bank.clone(), batch.index, negatives, z_t)
        expected_bank = method.student_bank.clone()
        for i, row in enumerate(batch.index.tolist()):
            mixed = 0.5 * expected_bank[row] + 0.5 * e_s[i].detach()
            expected_bank[row] = mixed / mixed.norm()
        terms = method.loss(batch, student, teacher)
        assert terms["contrast"].item() == pytest.approx(0.8 * (loss_s + loss_t), rel=1e-9)
        assert terms["ce"].item() == pytest.approx(F.cross_entropy(student.logits, batch.labels).item())
        assert torch.allclose(method.student_bank, expected_bank)
    assert method.student_z.item() == pytest.approx(z_s, rel=1e-9)


def test_negatives_are_distinct_rows_of_other_classes_drawn_anew() -> None:
    method = build(negatives=7)
    labels = torch.tensor([0, 1, 2, 0])
    first, second = method.draw_negatives(labels), method.draw_negatives(labels)
    assert first.shape == (4, 7)
    assert (LABELS[first] != labels[:, None]).all()
    assert all(len(set(row)) == 7 for row in first.tolist())
    assert not torch.equal(first, second)


def test_negatives_are_uniform_over_other_classes() -> None:
    method = build(negatives=5)
    drawn = torch.cat([method.draw_negatives(torch.zeros(50, dtype=torch.int64)) for _ in range(40)])
    counts = drawn.flatten().bincount(minlength=N)[LABELS != 0]
    expected = drawn.numel() / 20
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert chi_square < 45  # 19 degrees of freedom: p = 0.0007


def test_negatives_are_bounded_by_what_other_classes_hold() -> None:
    assert build().num_negatives == 20


def test_banks_start_uniform_within_the_papers_bound() -> None:
    bank = build().teacher_bank
    bound = (3 / DIM) ** 0.5
    assert bank.abs().max().item() <= bound
    assert bank.abs().max().item() > 0.95 * bound


def test_both_embeddings_learn_and_the_banks_do_not() -> None:
    method = build()
    batch, student, teacher = draw(0)
    sum(method.loss(batch, student, teacher).values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())
    assert {name for name, _ in method.named_parameters()} == {
        f"embed_{role}.{part}" for role in ("student", "teacher") for part in ("weight", "bias")
    }


def test_kd_weight_adds_the_kd_term() -> None:
    batch, student, teacher = draw(0)
    assert "kd" not in build().loss(batch, student, teacher)
    assert build(kd_weight=1.0).loss(batch, student, teacher)["kd"].item() > 0
