"""What a method trains of its own: an optimizer beside the suite's, and further networks."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kdbench import Adam, Batch, Field, Method, Outputs, OwnNetworks, Setup, Stage
from kdbench.checks.bench import Bench, batches
from kdbench.networks.outputs import OutputReader
from kdbench.networks.own import OwnNetwork


class Peer(Method):
    """The student beside a peer and a scale that Adam trains."""

    name, version = "peer", 1
    scheme = "online"
    knowledge = ("response",)
    requires = frozenset({"student.logits"})

    class Params(Method.Params):
        rate: float = Field(0.1, gt=0, description="of Adam")

    def build(self, setup: Setup) -> None:
        self.peer = setup.network("student")
        self.scale = nn.Linear(10, 1, bias=False)
        self.adam = Adam(self.scale.parameters(), self.params.rate)

    def stages(self) -> list[Stage]:
        return [Stage("alone", 1, self.alone, requires=frozenset())]

    def alone(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {"ce": nn.functional.cross_entropy(self.peer(batch.images).logits, batch.labels)}

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        self.adam.minimise(self.scale(student.logits).square().mean())
        return {"like": (student.logits - self.peer.frozen(batch.images).logits).square().mean()}


def test_adam_equals_pytorchs_and_goes_on_from_its_state() -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Linear(3, 2) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(5, 3)
    own, reference = Adam(ours.parameters(), 0.01, (0.5, 0.9)), torch.optim.Adam(theirs.parameters(), 0.01, (0.5, 0.9))
    for step in range(6):
        if step == 3:  # another run takes over
            saved = {name: value.clone() for name, value in own.state_dict().items()}
            own = Adam(ours.parameters(), 0.01, (0.5, 0.9))
            own.load_state_dict(saved)
        own.minimise(ours(x).square().mean())
        reference.zero_grad()
        theirs(x).square().mean().backward()
        reference.step()
    assert all(torch.allclose(a, b, rtol=1e-6) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_a_step_along_gradients_is_that_of_the_loss_they_are_of() -> None:
    torch.manual_seed(0)
    one, other = (nn.Linear(3, 2) for _ in range(2))
    other.load_state_dict(one.state_dict())
    x, mine, theirs = torch.randn(5, 3), Adam(one.parameters(), 0.01), Adam(other.parameters(), 0.01)
    for _ in range(3):
        mine.minimise(one(x).square().mean())
        theirs.step(torch.autograd.grad(other(x).square().mean(), list(other.parameters())))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    with pytest.raises(ValueError, match="shorter"):
        theirs.step([torch.zeros(2, 3)])
    with pytest.raises(RuntimeError, match="size"):
        theirs.step([torch.zeros(3), torch.zeros(2)])


def test_gradients_may_be_laid_out_otherwise_than_their_parameter() -> None:
    weights = [torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last), torch.ones(5)]
    gradients = [torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last), torch.randn(2, 3, 4, 4)]
    gradients.append(torch.ones(()).expand(5))
    mine, theirs = ([nn.Parameter(w.clone()) for w in weights] for _ in range(2))
    Adam(mine, 0.01).step(gradients)
    reference = torch.optim.Adam(theirs, 0.01)
    for parameter, gradient in zip(theirs, gradients, strict=True):
        parameter.grad = torch.empty_like(parameter).copy_(gradient)
    reference.step()
    assert all(torch.allclose(a, b, rtol=1e-6) for a, b in zip(mine, theirs, strict=True))


def test_adam_gives_gradients_to_nothing_but_its_targets() -> None:
    mine, other = nn.Linear(3, 3), nn.Linear(3, 1)
    Adam(mine.parameters(), 0.01).minimise(other(mine(torch.ones(2, 3))).sum())
    assert all(p.grad is None for p in (*mine.parameters(), *other.parameters()))


def test_what_adam_trains_is_left_out_of_the_suites_optimizer_and_moves() -> None:
    trainer = Bench(Peer).trainer()
    scale = trainer.method.scale.weight
    before = scale.detach().clone()
    assert not any(p is scale for p in trainer.parameters)
    assert any(p is trainer.method.peer.model.fc.weight for p in trainer.parameters)
    *_, last = batches(trainer)
    trainer.step(last)
    assert not torch.equal(scale, before)


def test_a_stage_that_reads_no_output_leaves_the_student_as_it_is() -> None:
    trainer = Bench(Peer).trainer()
    before = {name: value.clone() for name, value in trainer.student.state_dict().items()}
    trainer.train_epoch(trainer.enter_stage(0))
    assert trainer.stage.name == "alone"
    assert all(torch.equal(value, before[name]) for name, value in trainer.student.state_dict().items())
    assert trainer.spending.passes["student"] == (0, 0)
    assert trainer.spending.passes["peer"] == (40, 40)


def test_a_frozen_network_is_evaluated_without_a_trace() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3))
    reader = OutputReader.__new__(OutputReader)
    seen: list[tuple[bool, bool]] = []

    def read(images: Tensor) -> Outputs:
        seen.append((model.training, torch.is_grad_enabled()))
        return Outputs("student", logits=model(images))

    network = OwnNetwork(model, reader, nullcontext)
    network.read = read  # type: ignore[assignment]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert not network.frozen(torch.ones(2, 1, 2, 2)).logits.requires_grad
    assert network(torch.ones(2, 1, 2, 2)).logits.requires_grad
    assert seen == [(False, False), (True, True)]
    assert not torch.equal(model.state_dict()["2.running_mean"], before["2.running_mean"])  # of the second alone


def test_an_interrupted_training_of_all_of_them_ends_bit_equal(tmp_path: Path) -> None:
    whole, cut = Bench(Peer).trainer(), Bench(Peer).trainer()
    whole.train(tmp_path / "whole")

    def stop(done: int, epochs: int, loss: float | None) -> None:
        if done == 2:
            cut.save(tmp_path / "cut")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut.train(tmp_path / "cut", stop)
    rest = Bench(Peer).trainer()
    rest.restore(tmp_path / "cut")
    rest.train(tmp_path / "cut")
    expected = whole.tensors()
    assert all(torch.equal(value, expected[name]) for name, value in rest.tensors().items())
    assert rest.spending.passes == whole.spending.passes
    assert rest.spending.flops == whole.spending.flops > 0


def test_a_list_of_networks_registers_and_gives_them_in_order() -> None:
    networks = [OwnNetwork(nn.Linear(2, 3), lambda images: Outputs("student"), nullcontext) for _ in range(2)]
    method = nn.Module()
    method.peers = OwnNetworks(networks)
    assert list(method.peers) == [method.peers[0], method.peers[1]] == networks
    assert sorted(method.state_dict()) == [f"peers.{i}.model.{name}" for i in (0, 1) for name in ("bias", "weight")]
