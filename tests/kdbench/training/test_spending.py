"""What a training spends is counted without changing it."""

from __future__ import annotations

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from kdbench.checks.bench import BATCH, SAMPLES, Bench
from kdbench.networks.build import count_macs
from kdbench.networks.flops import FlopCounter
from kdbench_methods.ab import AB
from kdbench_methods.crd import CRD
from kdbench_methods.kd import KD
from kdbench_methods.vanilla import Vanilla


def test_forward_and_backward_passes_are_counted_by_network_over_all_stages() -> None:
    trainer = Bench(AB).trainer()
    Bench(AB).train(trainer)
    epochs = sum(stage.epochs for stage in trainer.stages)
    assert trainer.spending.passes == {
        "student": (epochs * SAMPLES, epochs * SAMPLES),
        "teacher": (epochs * SAMPLES, 0),
    }


def test_flops_are_those_of_the_networks_layers() -> None:
    plain, taught = Bench(Vanilla).trainer(), Bench(KD).trainer()
    for trainer in (plain, taught):
        trainer.train_epoch(trainer.enter_stage(0))
    example = torch.zeros(1, 1, 8, 8)
    student, teacher = (
        2 * count_macs(network, example) for network in (taught.student, taught.readers["teacher"].model)
    )
    images = plain.stage.epochs * SAMPLES
    assert taught.spending.flops - plain.spending.flops == pytest.approx(images * teacher)
    assert (
        2.5 * images * student < plain.spending.flops < 3 * images * student
    )  # no gradient of the first layer's input


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_a_convolution_costs_as_much_for_each_gradient_as_forward(kind: type[nn.Module], groups: int) -> None:
    layer, images = kind(8, 16, 3, padding=1, groups=groups), torch.randn(2, 8, 5, 5, requires_grad=True)
    with FlopCounter() as counter:
        out = layer(images)
        assert counter.flops == 2 * 2 * 5 * 5 * 3 * 3 * 8 * 16 // groups
        out.sum().backward()
    assert counter.flops == 3 * 2 * 2 * 5 * 5 * 3 * 3 * 8 * 16 // groups


def test_attention_is_counted_forward_and_backward() -> None:
    images, heads, tokens, width = 2, 3, 16, 8
    query, key, value = (torch.randn(images, heads, tokens, width, requires_grad=True) for _ in range(3))
    product = 2 * images * heads * tokens**2 * width
    with FlopCounter() as counter:
        out = F.scaled_dot_product_attention(query, key, value)
        assert counter.flops == 2 * product  # query by key, and that by value
        out.sum().backward()
    assert counter.flops == (2 + 5) * product  # of which one product is computed again


def test_a_transformers_attention_is_among_its_operations() -> None:
    network = timm.create_model("deit_tiny_patch16_224")
    assert count_macs(network, torch.zeros(1, 3, 224, 224)) == pytest.approx(1.254e9, rel=1e-3)


def test_a_counted_step_changes_nothing() -> None:
    counted, plain = Bench(CRD).trainer(), Bench(CRD).trainer()
    for trainer, count in ((counted, True), (plain, False)):
        torch.manual_seed(0)
        trainer.begin_epoch(0)
        trainer.run_steps(trainer.feed(0), counted=count)
    assert counted.spending.flops > 0 == plain.spending.flops
    expected = plain.tensors()
    assert all(torch.equal(value, expected[name]) for name, value in counted.tensors().items())
    assert SAMPLES % BATCH  # a last short batch is counted by its share
