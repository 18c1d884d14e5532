"""DeepInversion, CMI and Fast DFKD: what a batch of images is synthesised by, against loops of our own."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from kdbench.checks.bench import Bench, batches
from kdbench.training.trainer import Trainer
from kdbench_methods.cmi import CMI, adversarial_loss, contrastive_loss, means_of_maps
from kdbench_methods.deepinversion import DeepInversion, jensen_shannon, variation
from kdbench_methods.fastdfkd import FastDFKD
from kdbench_methods.kd import kd_loss
from kdbench_methods.parts.with_bank import WithBank

ALL = (CMI, DeepInversion, FastDFKD)
STILL = {"padding": 0, "flip": False}  # crops that are the images


def trainer_of(cls: type[WithBank], **params: Any) -> Trainer:
    """A training whose networks, as trained ones, are sure of their answers, and agree on some."""
    trainer = Bench(cls).trainer(params=params)
    images = torch.randn(50, 1, 8, 8, generator=Generator().manual_seed(4))
    with torch.no_grad():
        for network in (trainer.student, trainer.readers["teacher"].model):
            classifier = network.get_classifier()
            classifier.weight.mul_(20)
            logits = copy.deepcopy(network).eval()(images)
            classifier.bias[3] += (logits.amax(dim=1) - logits[:, 3]).median() + 0.1
    return trainer


def random_of(method: WithBank) -> Generator:
    """The numbers that a method will draw."""
    return Generator().set_state(method.random.get_state())


def synthesise(trainer: Trainer, epoch: int = 0) -> None:
    trainer.method.before_epoch("", epoch, trainer.student)


def networks(trainer: Trainer) -> tuple[nn.Module, nn.Module]:
    """Student and teacher, in evaluation mode."""
    return copy.deepcopy(trainer.student).eval(), copy.deepcopy(trainer.readers["teacher"].model)


def given_statistics(teacher: nn.Module, images: Tensor) -> Tensor:
    """(2, C) means and variances of what all batch norms are given."""
    found: list[Tensor] = []

    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].transpose(0, 1).flatten(1)
        found.append(torch.stack([values.mean(dim=1), values.var(dim=1, correction=0)]))

    handles = [m.register_forward_pre_hook(hook) for m in teacher.modules() if isinstance(m, nn.BatchNorm2d)]
    teacher(images)
    for handle in handles:
        handle.remove()
    return torch.cat(found, dim=1)


def batch_norm_loss(teacher: nn.Module, images: Tensor, earlier: Tensor | None = None, momentum: float = 0.0) -> Tensor:
    """The distance of their statistics from what they remember, mixed with earlier ones."""
    now, total, start = given_statistics(teacher, images), torch.zeros(()), 0
    if earlier is not None:
        now = (1 - momentum) * now + momentum * earlier
    for norm in teacher.modules():
        if isinstance(norm, nn.BatchNorm2d):
            mean, var = now[:, start : start + norm.num_features]
            total = total + (mean - norm.running_mean).square().sum().sqrt()
            total = total + (var - norm.running_var).square().sum().sqrt()
            start += norm.num_features
    return total


@pytest.mark.parametrize("cls", ALL)
def test_the_student_learns_kd_on_images_of_the_bank(cls: type[WithBank]) -> None:
    trainer = trainer_of(cls, **STILL)
    [batch, *_] = list(batches(trainer))
    assert not len(batch.images)
    seen = trainer.method.inputs(batch)
    kept = trainer.method.synthetic()
    assert seen.images.shape == (16, 1, 8, 8)
    assert all(any(torch.allclose(image, other, atol=1e-6) for other in kept) for image in seen.images)
    student, teacher = trainer.outputs(seen.images)
    terms = trainer.method.loss(seen, student, teacher)
    expected = kd_loss(student.logits, teacher.logits, 3.0 if cls is DeepInversion else 20.0)
    assert terms["kd"].item() == pytest.approx(expected.item())


@pytest.mark.parametrize("cls", ALL)
def test_synthesis_leaves_both_networks_as_they_were(cls: type[WithBank]) -> None:
    trainer = trainer_of(cls)
    student, teacher = trainer.student, trainer.readers["teacher"].model
    before = {
        name: value.clone() for name, value in {**student.state_dict(prefix="s."), **teacher.state_dict()}.items()
    }
    synthesise(trainer)
    after = {**student.state_dict(prefix="s."), **teacher.state_dict()}
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert student.training
    assert all(parameter.grad is None for parameter in (*student.parameters(), *trainer.method.parameters()))
    assert not any(module._forward_pre_hooks for module in teacher.modules() if isinstance(module, nn.BatchNorm2d))


@pytest.mark.parametrize("cls", ALL)
def test_the_training_lasts_as_many_epochs_as_asked(cls: type[WithBank]) -> None:
    assert Bench(cls).trainer(params={"epoch_factor": 3}).method.main(7).epochs == 21


@pytest.mark.parametrize("cls", ALL)
def test_a_teacher_without_batch_norm_is_inverted_by_the_other_terms(cls: type[WithBank]) -> None:
    trainer = Bench(cls).trainer("across families", params={"ce_weight": 3.0} if cls is not DeepInversion else {})
    assert trainer.method.batch_statistics.layers == []
    synthesise(trainer)
    assert len(trainer.method.bank) > 0


def test_deepinversions_pixels_go_down_its_loss() -> None:
    weights = {"statistics_weight": 0.7, "variation_weight": 0.02, "l2_weight": 0.03, "compete_weight": 1.5}
    trainer = trainer_of(DeepInversion, synthesised=12, iterations=1, jitter=0, pixel_learning_rate=0.1, **weights)
    student, teacher = networks(trainer)
    noise = torch.empty(12, 1, 8, 8).contiguous(memory_format=torch.channels_last)
    noise = noise.normal_(generator=random_of(trainer.method)).requires_grad_()
    z_t, z_s = teacher(noise), student(noise)
    loss = F.cross_entropy(z_t, torch.tensor([*range(10), 0, 1])) + 0.7 * batch_norm_loss(teacher, noise)
    p, q = (z_t / 3).softmax(dim=1), (z_s / 3).softmax(dim=1)
    js = sum((one * (2 * one / (p + q)).log()).sum(dim=1).mean() / 2 for one in (p, q))
    loss = loss + 0.02 * variation(noise) + 0.03 * noise.square().sum().sqrt() + 1.5 * (1 - js)
    [gradient] = torch.autograd.grad(loss, noise)
    synthesise(trainer)
    black, white = trainer.method.bank.range
    moved = (noise - 0.1 * gradient.sign()).clamp(black, white)
    clear = gradient.abs() > 1e-4  # where the sign is sure
    assert clear.float().mean() > 0.9
    assert torch.allclose(trainer.method.bank.some(12)[clear], moved[clear], atol=0.6 / 255 / 0.3756)


def test_deepinversion_fills_its_bank_once() -> None:
    trainer = trainer_of(DeepInversion, synthesised=8, bank_size=20, iterations=1)
    sizes = []
    for epoch in range(5):
        synthesise(trainer, epoch)
        sizes.append((len(trainer.method.bank), int(trainer.method.bank.ring.added)))
    assert sizes == [(8, 8), (16, 16), (20, 24), (20, 24), (20, 24)]
    assert int(trainer.method.adam.step_0) == 1  # each batch begins with no means of gradients


def test_deepinversion_makes_images_of_the_wanted_classes() -> None:
    errors = []
    for iterations in (1, 40):
        params = {"iterations": iterations, "jitter": 0, "pixel_learning_rate": 0.1, "statistics_weight": 0.0}
        trainer = trainer_of(DeepInversion, synthesised=20, bank_size=20, **params)
        synthesise(trainer)
        _, teacher = networks(trainer)
        errors.append(F.cross_entropy(teacher(trainer.method.synthetic()), torch.arange(20) % 10))
    assert errors[1] < 0.5 * errors[0]


def test_variation_is_of_four_neighbours() -> None:
    images = torch.randn(2, 2, 4, 5, dtype=torch.float64)
    expected = 0.0
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        total = 0.0
        for row in range(4 - down):
            for column in range(max(0, -right), 5 - max(0, right)):
                difference = images[:, :, row + down, column + right] - images[:, :, row, column]
                total += difference.square().sum().item()
        expected += math.sqrt(total)
    assert variation(images).item() == pytest.approx(expected)


def test_jensen_shannon_is_zero_for_equals_and_log_two_for_opposites() -> None:
    logits = torch.tensor([[50.0, 0.0], [0.0, 50.0]])
    assert jensen_shannon(logits, logits, 1.0).item() == pytest.approx(0, abs=1e-6)
    assert jensen_shannon(logits, logits.flip(0), 1.0).item() == pytest.approx(math.log(2))
    assert jensen_shannon(logits, logits.flip(0), 50.0).item() < 0.5


def test_the_adversarial_term_is_of_images_that_both_classify_alike() -> None:
    student = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0], [1.0, 0.5, 0.0], [0.0, 2.0, 0.0]])
    teacher = torch.tensor([[4.0, 1.0, 0.0], [3.0, 1.0, 0.0], [1.0, 0.5, 0.0], [0.0, 5.0, 1.0]])
    expected = 0.0
    for z_s, z_t in zip(student, teacher, strict=True):
        if z_s.argmax() == z_t.argmax():
            p_s, p_t = z_s.softmax(0), z_t.softmax(0)
            expected -= sum((p_t[c] * (p_t[c] / p_s[c]).log()).item() for c in range(3)) / 4
    assert expected < 0
    assert adversarial_loss(student, teacher).item() == pytest.approx(expected, rel=1e-5)


def test_contrast_tells_every_image_from_all_others() -> None:
    told = torch.randn(7, 2, 4, dtype=torch.float64).requires_grad_()
    each = []
    for i in range(7):
        cosines = torch.stack([F.cosine_similarity(told[i, 0], told[j, 1].detach(), dim=0) for j in range(7)])
        each.append(-(cosines / 0.2).log_softmax(dim=0)[i])
    expected = torch.stack(each[:3]).mean() + torch.stack(each[3:]).mean()
    loss = contrastive_loss(told, new=3, temperature=0.2)
    assert loss.item() == pytest.approx(expected.item())
    [gradient], [by_loop] = torch.autograd.grad(loss, told), torch.autograd.grad(expected, told)
    assert torch.allclose(gradient, by_loop)
    assert gradient[:, 1].abs().sum() == 0
    alone = contrastive_loss(told[:3], new=3, temperature=0.2)
    assert alone < loss  # no earlier image is taken for one of the batch


def test_cmi_keeps_the_features_of_what_it_keeps() -> None:
    trainer = trainer_of(CMI, iterations=4, generator_learning_rate=1.0, **STILL)  # the last are not the best
    method = trainer.method
    synthesise(trainer)
    features = means_of_maps(trainer.readers["teacher"](method.synthetic()).features)
    assert torch.allclose(method.earlier.rows[:8, 1], features, atol=0.02)
    assert not torch.allclose(method.earlier.rows[:8, 0], features, atol=0.02)  # of zoomed parts
    synthesise(trainer, 1)
    assert len(method.earlier) == len(method.bank) == 16


def test_cmis_generator_begins_anew_and_its_head_does_not() -> None:
    trainer = trainer_of(CMI, iterations=1, generator_learning_rate=1e-6, latent=200, width=40)
    method = trainer.method
    before = copy.deepcopy(method.head.state_dict())
    synthesise(trainer)
    between = copy.deepcopy(method.head.state_dict())
    assert method.generator.project.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert method.generator.layers[0].weight.mean().item() == pytest.approx(1, abs=0.02)
    assert method.generator.layers[2].bias.abs().max() < 1e-5
    synthesise(trainer, 1)
    assert int(method.head_adam.step_0) == 2  # its means of gradients live on
    assert int(method.image_adam.step_0) == 1
    assert not torch.equal(before["0.weight"], between["0.weight"])
    assert not torch.equal(between["0.weight"], method.head[0].weight)


@pytest.mark.parametrize("cls", [CMI, FastDFKD])
def test_every_weight_moves_the_generator(cls: type[WithBank]) -> None:
    for weight in (name for name in cls.Params.model_fields if name.endswith("_weight")):
        ends = []
        for value in (0.0, 5.0):
            trainer = trainer_of(cls, **STILL, synthesised=16, iterations=1, **{weight: value})
            synthesise(trainer)
            ends.append(trainer.method.generator.project.weight.clone())
        assert not torch.equal(*ends), weight


def test_fast_dfkd_takes_first_order_maml_steps() -> None:
    weights = {"ce_weight": 0.4, "statistics_weight": 0.3, "adversarial_weight": 0.8}
    sizes = {"synthesised": 24, "bank_size": 72, "iterations": 4, "warm_up": 0}
    rates = {"generator_learning_rate": 0.01, "latent_learning_rate": 0.03}
    trainer = trainer_of(FastDFKD, **weights, **sizes, **rates, **STILL)
    method = trainer.method
    method.main(100)
    student, teacher = networks(trainer)
    meta = copy.deepcopy(method.generator)
    meta_adam = torch.optim.Adam(meta.parameters(), 0.01 * 4, betas=(0.5, 0.999))
    earlier: Tensor | None = None
    agreed = 0
    for epoch in range(3):
        random = random_of(method)
        latents = torch.randn(24, 256, generator=random).requires_grad_()
        labels = torch.randint(10, (24,), generator=random)
        adapted = copy.deepcopy(meta)
        groups: list[dict[str, Any]] = [{"params": adapted.parameters()}, {"params": [latents], "lr": 0.03}]
        adam = torch.optim.Adam(groups, 0.01, betas=(0.5, 0.999))
        totals = [torch.zeros_like(parameter) for parameter in meta.parameters()]
        tried: list[tuple[float, Tensor]] = []
        for _ in range(4):
            images = (adapted(latents) - method.bank.mean) / method.bank.std
            z_t, z_s = teacher(images), student(images)
            agreed += (z_t.argmax(dim=1) == z_s.argmax(dim=1)).sum().item()
            statistics = batch_norm_loss(teacher, images, earlier, momentum=0.9)
            loss = 0.4 * F.cross_entropy(z_t, labels) + 0.3 * statistics + 0.8 * adversarial_loss(z_s, z_t)
            tried.append((loss.item(), images.detach()))
            adam.zero_grad()
            loss.backward()
            totals = [t + p.grad for t, p in zip(totals, adapted.parameters(), strict=True)]
            adam.step()
        for total, parameter in zip(totals, meta.parameters(), strict=True):
            parameter.grad = total
        meta_adam.step()
        now = given_statistics(teacher, tried[-1][1])
        earlier = now if earlier is None else 0.9 * earlier + 0.1 * now
        synthesise(trainer, epoch)
        best = min(tried, key=lambda pair: pair[0])[1]
        kept = method.bank.normalised(method.bank.ring.rows[24 * epoch : 24 * epoch + 24])
        assert torch.allclose(kept, best, atol=0.6 / 255 / 0.3756)
        assert torch.allclose(method.earlier, earlier, atol=1e-3)
    assert agreed > 20
    cancelled = {"project.bias", "layers.2.bias", "layers.6.bias"}  # by the batch norm behind
    for (name, mine), other in zip(method.generator.named_parameters(), meta.parameters(), strict=True):
        assert name in cancelled or torch.allclose(mine, other, atol=1e-3), name


def test_fast_dfkd_warms_up_without_the_student_and_begins_its_first_layers_anew_once() -> None:
    trainer = trainer_of(FastDFKD, warm_up=2, synthesised=8, bank_size=100, reset_at=0.5)
    method, asked = trainer.method, []
    read = method.read_student
    method.read_student = lambda images: asked.append(len(images)) or read(images)
    method.main(4)
    stds = []
    for epoch in range(4):
        synthesise(trainer, epoch)
        stds.append(method.generator.layers[0].weight.mean().item())
    assert int(method.bank.ring.added) == (2 + 4) * 8
    assert asked == [8] * 2 * 4  # iterations of each epoch's batch
    assert stds[1] > 0.9
    assert abs(stds[2]) < 0.1
    assert abs(stds[3]) < 0.1


def test_cmi_lets_the_student_learn_between_two_batches() -> None:
    trainer = trainer_of(CMI, student_epochs=3, bank_size=100)
    for epoch in range(7):
        synthesise(trainer, epoch)
    assert int(trainer.method.bank.ring.added) == 3 * 8
