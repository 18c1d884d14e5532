"""Quantized distillation: rounding in training, and what its integer copy computes and stores."""

from __future__ import annotations

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import NotApplicable
from kdbench.checks.bench import Bench, batches, evaluate
from kdbench.networks.build import build_network, count_macs, count_parameters
from kdbench.suite import Suite
from kdbench_methods.kd import kd_loss
from kdbench_methods.quantized_kd import FakeQuantizeActivations, Int8, QuantizedKD, learn_rounding, try_conversion

SHAPES = {"digits_resnet8_w4": (1, 8, 8), "digits_vit_w16": (1, 8, 8), "cifar_resnet8": (3, 32, 32)}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def trained(name: str, steps: int = 12) -> nn.Module:
    """A network that learnt a few steps of a random task under rounding, in evaluation mode."""
    torch.manual_seed(0)
    network = timm.create_model(name)
    nn.init.normal_(network.get_classifier().weight, std=0.3)
    learn_rounding(network)
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    for step in range(steps):
        loss = F.cross_entropy(network(random(16, *SHAPES[name], seed=step)), torch.arange(16) % 10)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
def test_every_convolution_of_a_small_student_learns_to_round_whatever_the_processor(
    capability: str, monkeypatch: pytest.MonkeyPatch, digits: Suite
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    network = build_network(digits, "resnet8_w4", 0)
    images = random(4, 1, 8, 8)
    before = network.eval()(images)
    learn_rounding(network)
    rounded = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert len(rounded) == 9
    assert all(hasattr(m, "weight_fake_quant") for m in rounded)
    assert network.eval()(images).shape == before.shape


def test_a_rounded_layer_computes_on_the_grids_of_its_scales() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 4))
    weight = network[0].weight.detach().clone()
    learn_rounding(network)
    values = random(32, 6)
    network.train()(values)
    found = network.eval()(values)
    wrapped = network[0]
    scale = weight.abs().max() / 63.5
    low, high = min(values.min().item(), 0.0), max(values.max().item(), 0.0)
    step = (high - low) / 255
    zero = round(-low / step)
    rounded_values = (((values / step).round() + zero).clamp(0, 255) - zero) * step
    rounded_weight = (weight / wrapped.module.weight_fake_quant.scale).round() * wrapped.module.weight_fake_quant.scale
    assert wrapped.module.weight_fake_quant.scale.item() == pytest.approx(scale.item(), rel=0.02)
    exact = F.linear(rounded_values, rounded_weight, wrapped.module.bias)
    last_step = wrapped.module.activation_post_process.scale.item()
    assert (found - exact).abs().max().item() <= 0.51 * last_step
    assert len(found.unique()) < found.numel()


def test_the_gradient_passes_as_if_nothing_were_rounded() -> None:
    torch.manual_seed(0)
    plain = nn.Linear(6, 4)
    network = nn.Sequential(nn.Linear(6, 4))
    network[0].load_state_dict(plain.state_dict())
    learn_rounding(network)
    values, target = random(32, 6), random(32, 4, seed=1)
    (plain(values) * target).sum().backward()
    (network.train()(values) * target).sum().backward()
    gradient = network[0].module.weight.grad
    assert torch.allclose(gradient, plain.weight.grad, rtol=0.02, atol=0.1)  # the inputs are rounded, the slope is 1
    assert gradient.abs().max() > 1


def test_only_training_images_move_the_ranges_of_activations() -> None:
    network = trained("digits_resnet8_w4")
    network(random(8, 1, 8, 8))  # weights that the last step moved are rounded anew
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(100 * random(8, 1, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    network.train()(100 * random(8, 1, 8, 8))
    moved = [m for m in network.modules() if isinstance(m, FakeQuantizeActivations)]
    assert not torch.equal(moved[0].scale, before["conv1.quant.activation_post_process.scale"])


def test_the_range_of_activations_follows_a_tenth_of_the_way() -> None:
    network = nn.Sequential(nn.Linear(2, 1))
    learn_rounding(network)
    network.train()(torch.tensor([[0.0, 1.0]]))
    network(torch.tensor([[0.0, 3.0]]))
    assert network[0].quant.activation_post_process.scale.item() == pytest.approx((1 + 0.1 * 2) / 255)


@pytest.mark.parametrize("name", SHAPES)
def test_the_integer_copy_agrees_with_the_rounded_network(name: str) -> None:
    network = trained(name)
    images = random(200, *SHAPES[name], seed=99)
    with torch.no_grad():
        rounded, integer = network(images), Int8(network)(images)
    step = network.get_classifier().module.activation_post_process.scale.item()
    assert ((rounded - integer).abs() / step).mean().item() < 0.2  # a tie may fall to the other side
    assert (rounded.argmax(1) == integer.argmax(1)).float().mean().item() > 0.97


@pytest.mark.parametrize("name", SHAPES)
def test_rounding_adds_no_weights_and_no_operations(name: str) -> None:
    example = torch.zeros(1, *SHAPES[name])
    plain, rounded = timm.create_model(name), timm.create_model(name)
    learn_rounding(rounded)
    assert count_parameters(rounded) == count_parameters(plain)
    assert count_macs(rounded, example) == count_macs(plain, example)


def test_the_integer_copy_stores_a_byte_for_each_rounded_weight() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(20, 7))
    learn_rounding(network)
    network(random(8, 3, 4, 4))
    weights, norm, bias = 3 * 5 * 9 + 20 * 7, 4 * 4 * 5 + 8, 4 * 7
    scales = 2 * 2 * (4 + 8)  # of an input and an output in each of two layers, with their zero points
    assert Int8(network).size_bytes == weights + norm + bias + scales


def test_the_integer_copy_computes_on_integers_and_leaves_the_network_as_it_is() -> None:
    network = trained("digits_resnet8_w4")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    copy = Int8(network)
    assert copy.network.conv1.module.weight().dtype == torch.qint8
    assert int(copy.network.conv1.module.weight().int_repr().abs().max()) <= 64
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert isinstance(network.conv1.module.weight, nn.Parameter)


def test_the_integer_copy_stays_on_the_cpu_in_full_precision() -> None:
    copy = Int8(trained("digits_vit_w16"))
    images = random(4, 1, 8, 8)
    expected = copy(images)
    assert next(copy.to("meta").network.parameters()).device.type == "cpu"
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(copy(images), expected)


def test_a_network_without_layers_to_round_is_declined() -> None:
    with pytest.raises(NotApplicable, match="no convolution or linear layer"):
        learn_rounding(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()))


def test_a_network_that_reaches_for_its_layers_weights_is_declined() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, images: Tensor) -> Tensor:
            return F.linear(self.layer(images), self.layer.weight)

    network = Tied()
    learn_rounding(network)
    with pytest.raises(NotApplicable, match=r"no integer copy of the student.*weight"):
        try_conversion(network, torch.zeros(1, 3))


def test_the_loss_is_kd_on_rounded_logits() -> None:
    trainer = Bench(QuantizedKD).trainer()
    terms, batch, [student, teacher] = evaluate(trainer, next(batches(trainer)))
    assert terms["ce"].item() == pytest.approx(0.3 * F.cross_entropy(student.logits, batch.labels).item())
    assert terms["kd"].item() == pytest.approx(0.7 * kd_loss(student.logits, teacher.logits, 2.0).item())
    step = trainer.student.get_classifier().module.activation_post_process.scale
    multiples = student.logits / step
    assert torch.allclose(multiples, multiples.round(), atol=1e-3)


def test_the_record_has_the_integer_copy_beside_the_student() -> None:
    trainer = Bench(QuantizedKD).trainer()
    trainer.train_epoch(trainer.enter_stage(0))
    networks = trainer.method.networks(trainer.student, trainer.read_student)
    assert list(networks) == ["int8"]
    close = (trainer.predict() - trainer.predict(networks["int8"])).abs().mean().item()
    assert close < 0.02
