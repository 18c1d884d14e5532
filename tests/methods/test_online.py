"""Methods whose networks learn together: dml, dml_mixed, kdcl, okddip, one."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Method, NotApplicable, Outputs, OwnNetwork, Shapes
from kdbench.checks.bench import Bench, batches, evaluate
from kdbench_methods.dml import DML, mutual_losses
from kdbench_methods.dml_mixed import DMLMixed
from kdbench_methods.kd import kd_loss
from kdbench_methods.kdcl import KDCL, min_logit_target, naive_target
from kdbench_methods.okddip import OKDDip, mixtures
from kdbench_methods.one import ONE, gate
from kdbench_methods.parts.branches import Branch
from kdbench_methods.parts.ramp import ramp
from tests.methods.small import small_setup

Random = Callable[..., Tensor]
WIDTH, CLASSES, VIEWS = 16, 3, 5


def own_network(seed: int) -> OwnNetwork:
    """An embedding and a classifier of (B, 1, 8, 8) images, in float64."""
    torch.manual_seed(seed)
    body, head = nn.Linear(64, WIDTH).double(), nn.Linear(WIDTH, CLASSES).double()

    def read(images: Tensor) -> Outputs:
        embedding = body(images.flatten(1)).tanh()
        return Outputs("student", logits=head(embedding), embedding=embedding)

    return OwnNetwork(nn.Sequential(nn.Flatten(), body, nn.Tanh(), head), read, nullcontext)


def built(
    cls: type[Method], features: tuple[tuple[int, int, int], ...] | None = None, **params: Any
) -> tuple[Any, list[str]]:
    """A method on small networks, and the roles of those that it asked for."""
    roles: list[str] = []

    def network(role: str) -> OwnNetwork:
        roles.append(role)
        return own_network(len(roles))

    def images(index: Tensor, view: Tensor) -> Tensor:
        return (index + 100 * view).double()[:, None, None, None].expand(-1, 1, 8, 8)

    method = cls(cls.Params.model_validate(params))
    shapes = Shapes("student", embedding=WIDTH, features=features)
    method.build(small_setup(student=shapes, network=network, images=images, num_views=VIEWS))
    return method.double().train(), roles


@pytest.fixture
def batch(random: Random) -> Batch:
    """Eight random images of three classes."""
    index = torch.arange(8)
    now = torch.tensor(0)
    return Batch(random(8, 1, 8, 8), index % CLASSES, index, index % VIEWS, now, now, torch.tensor(0.0))


def divergence(target: Tensor, learner: Tensor) -> float:
    """KL of two (B, C) logits in plain loops."""
    total = 0.0
    for t, s in zip(target.softmax(1).tolist(), learner.softmax(1).tolist(), strict=True):
        total += sum(p * (math.log(p) - math.log(q)) for p, q in zip(t, s, strict=True))
    return total / len(target)


def test_mutual_losses_are_mean_divergences_from_the_others(random: Random) -> None:
    logits = random(3, 4, 5)
    for k, loss in enumerate(mutual_losses(logits)):
        others = [divergence(logits[other], logits[k]) for other in range(3) if other != k]
        assert loss.item() == pytest.approx(sum(others) / 2)


def test_equal_networks_teach_each_other_nothing(random: Random) -> None:
    logits = random(1, 4, 5).expand(3, -1, -1).clone().requires_grad_()
    losses = mutual_losses(logits)
    assert losses.abs().max() < 1e-12
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    assert gradient.abs().max() < 1e-12


def test_a_network_gets_no_gradient_from_the_losses_of_the_others(random: Random) -> None:
    logits = random(3, 4, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(mutual_losses(logits)[1], logits)
    assert gradient[1].abs().max() > 0
    assert not gradient[[0, 2]].any()


def test_dml_trains_student_and_peers_alike(batch: Batch, random: Random) -> None:
    method, roles = built(DML, peers=2, ce_weight=0.5, kd_weight=2.0)
    assert roles == ["student", "student"]
    z_s = random(8, CLASSES, seed=3)
    peers = [peer(batch.images).logits for peer in method.peers]
    terms = method.loss(batch, Outputs("student", logits=z_s), Outputs("teacher"))
    assert terms["ce"].item() == pytest.approx(0.5 * F.cross_entropy(z_s, batch.labels).item())
    assert terms["kd"].item() == pytest.approx(sum(divergence(z, z_s) for z in peers))
    assert terms["peers_ce"].item() == pytest.approx(sum(0.5 * F.cross_entropy(z, batch.labels).item() for z in peers))
    pairs = [(z_s, peers[0]), (z_s, peers[1]), (peers[0], peers[1]), (peers[1], peers[0])]
    assert terms["peers_kd"].item() == pytest.approx(sum(divergence(*pair) for pair in pairs))


def test_peers_start_apart_and_are_recorded_by_number() -> None:
    method, _ = built(DML, peers=2)
    networks = method.networks(nn.Identity(), method.loss)
    assert list(networks) == ["peer 1", "peer 2"]
    assert networks["peer 2"] is method.peers[1].model
    weights = [next(network.parameters()) for network in networks.values()]
    assert not weights[0].equal(weights[1])
    assert {id(p) for p in method.parameters()} == {id(p) for n in networks.values() for p in n.parameters()}


def test_dml_mixed_learns_with_untrained_networks_of_the_teachers_architecture() -> None:
    method, roles = built(DMLMixed)
    assert roles == ["teacher"]
    assert not any(output == "teacher.logits" for output in DMLMixed.requires)
    assert isinstance(method, DML)


def test_naive_target_is_the_best_network_of_each_image(random: Random) -> None:
    logits, labels = random(3, 6, 4), torch.arange(6) % 4
    target = naive_target(logits, labels)
    chosen = set()
    for i in range(6):
        losses = [F.cross_entropy(z[i : i + 1], labels[i : i + 1]).item() for z in logits]
        chosen.add(losses.index(min(losses)))
        assert target[i].equal(logits[losses.index(min(losses)), i])
    assert len(chosen) > 1


def test_min_logit_target_is_the_least_margin_of_each_class(random: Random) -> None:
    logits, labels = random(3, 6, 4), torch.arange(6) % 4
    target = min_logit_target(logits, labels)
    for i in range(6):
        for c in range(4):
            margins = [z[i, c].item() - z[i, labels[i]].item() for z in logits]
            assert target[i, c].item() == pytest.approx(min(margins))


def test_min_logit_target_is_no_worse_than_any_network(random: Random) -> None:
    logits, labels = random(3, 6, 4), torch.arange(6) % 4
    target = F.cross_entropy(min_logit_target(logits, labels), labels, reduction="none")
    for z in logits:
        assert (target <= F.cross_entropy(z, labels, reduction="none") + 1e-12).all()


@pytest.mark.parametrize("target", ["naive", "min_logit"])
def test_kdcl_pulls_all_networks_to_one_target(batch: Batch, random: Random, target: str) -> None:
    method, roles = built(KDCL, peers=2, target=target, ce_weight=0.5, kd_weight=3.0)
    assert roles == ["teacher", "teacher"]
    z_s = random(8, CLASSES, seed=3).requires_grad_()
    seen = method.inputs(batch)
    peers = [method.peers[k](seen.extra[f"peer {k + 1}"]).logits for k in range(2)]
    logits = torch.stack([z_s, *peers]).detach()
    z_t = {"naive": naive_target, "min_logit": min_logit_target}[target](logits, batch.labels)
    terms = method.loss(seen, Outputs("student", logits=z_s), Outputs("teacher"))
    assert terms["ce"].item() == pytest.approx(0.5 * F.cross_entropy(z_s, batch.labels).item())
    assert terms["kd"].item() == pytest.approx(3 * 4 * divergence(z_t / 2, z_s.detach() / 2))
    expected = sum(3 * 4 * divergence(z_t / 2, z.detach() / 2) for z in peers)
    assert terms["peers_kd"].item() == pytest.approx(expected)
    gradient, *_ = torch.autograd.grad(terms["peers_kd"], z_s)  # through the stack of all logits, and nothing else
    assert not gradient.any()


def test_kdcl_shows_every_network_views_of_its_own_of_the_same_images(batch: Batch) -> None:
    method, _ = built(KDCL, peers=2)
    seen = method.inputs(batch)
    assert seen.images.equal(batch.images)
    views = []
    for k in (1, 2):
        values = seen.extra[f"peer {k}"][:, 0, 0, 0].long()
        assert (values % 100).equal(batch.index)
        views.append(values // 100)
        assert views[-1].min() >= 0
        assert views[-1].max() < VIEWS
    assert not views[0].equal(views[1])


def test_okddip_mixes_logits_by_attention_over_the_peers(random: Random) -> None:
    logits, queries, keys = random(3, 4, 5), random(3, 4, 2, seed=1), random(3, 4, 2, seed=2)
    targets = mixtures(logits, queries, keys)
    for a in range(3):
        for i in range(4):
            energies = [math.exp((queries[a, i] @ keys[b, i]).item()) for b in range(3)]
            mixed = sum(e / sum(energies) * logits[b, i] for b, e in enumerate(energies))
            assert torch.allclose(targets[a, i], mixed)  # type: ignore[arg-type]


def test_the_ramp_rises_to_one() -> None:
    values = [ramp(torch.tensor(epoch), 8).item() for epoch in (0, 4, 8, 20)]
    assert values == pytest.approx([math.exp(-5), math.exp(-1.25), 1.0, 1.0])


def test_okddips_leader_learns_from_the_mean_of_the_peers(batch: Batch, random: Random) -> None:
    method, roles = built(OKDDip, ramp_epochs=1, ce_weight=0.5, kd_weight=2.0, peers=3)
    assert roles == ["student"] * 3
    z_s = random(8, CLASSES, seed=3)
    outputs = [peer(batch.images) for peer in method.peers]
    mean = sum(o.logits for o in outputs) / 3
    terms = method.loss(batch, Outputs("student", logits=z_s), Outputs("teacher"))
    weight = 2.0 * math.exp(-5)
    assert terms["kd"].item() == pytest.approx(weight * 9 * divergence(mean / 3, z_s / 3))
    queries, keys = ([layer(o.embedding) for o in outputs] for layer in (method.query, method.key))
    targets = mixtures(*(torch.stack(x) for x in ([o.logits for o in outputs], queries, keys)))
    expected = sum(weight * kd_loss(o.logits, t, 3.0).item() for o, t in zip(outputs, targets, strict=True))
    assert terms["peers_kd"].item() == pytest.approx(expected)
    assert terms["peers_ce"].item() == pytest.approx(
        sum(0.5 * F.cross_entropy(o.logits, batch.labels).item() for o in outputs)
    )


def test_okddips_attention_learns_and_is_shared(batch: Batch, random: Random) -> None:
    method, _ = built(OKDDip)
    assert method.query.weight.shape == method.key.weight.shape == (WIDTH // 8, WIDTH)
    terms = method.loss(batch, Outputs("student", logits=random(8, CLASSES)), Outputs("teacher"))
    gradients = torch.autograd.grad(terms["peers_kd"], [method.query.weight, method.key.weight])
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_ones_branches_and_gate_fit_the_maps(random: Random) -> None:
    low = random(2, 4, 8, 8)
    assert Branch((4, 8, 8), (6, 4, 4), CLASSES).double()(low).shape == (2, CLASSES)
    assert Branch((4, 8, 8), (4, 8, 8), CLASSES).double()(low).shape == (2, CLASSES)
    shares = gate(4, 3).double()(low)
    assert torch.allclose(shares.sum(dim=1), torch.ones(2).double())
    assert gate(4, 3).double()(low[:1]).shape == (1, 3)  # a batch of one, in training


def test_one_teaches_every_branch_by_their_gated_ensemble() -> None:
    params = {"ce_weight": 0.5, "kd_weight": 2.0, "ramp_epochs": 1, "branches": 2}
    trainer = Bench(ONE).trainer(params=params)
    given = next(batches(trainer))
    method = trainer.method.eval()
    terms, batch, [student, _] = evaluate(trainer, given)
    low = student.features[-2]
    logits = [student.logits, *(branch(low) for branch in method.branches)]
    shares = method.gate(low)
    assert len(logits) == shares.shape[1] == 3
    ensemble = sum(shares[:, k : k + 1] * z for k, z in enumerate(logits))
    weight = 2 * math.exp(-5)
    assert terms["ce"].item() == pytest.approx(0.5 * F.cross_entropy(student.logits, batch.labels).item())
    assert terms["kd"].item() == pytest.approx(weight * kd_loss(student.logits, ensemble, 3.0).item())  # type: ignore[arg-type]
    others = sum(weight * kd_loss(z, ensemble, 3.0).item() for z in logits[1:])  # type: ignore[arg-type]
    assert terms["branches_kd"].item() == pytest.approx(others)
    others = sum(0.5 * F.cross_entropy(z, batch.labels).item() for z in logits[1:])
    assert terms["branches_ce"].item() == pytest.approx(others)
    assert terms["ensemble_ce"].item() == pytest.approx(0.5 * F.cross_entropy(ensemble, batch.labels).item())  # type: ignore[arg-type]


def test_one_trains_its_gate_by_the_ensembles_answers_alone() -> None:
    trainer = Bench(ONE).trainer(params={"ramp_epochs": 1})
    terms, *_ = evaluate(trainer, next(batches(trainer)))
    weight = trainer.method.gate[1].weight
    assert torch.autograd.grad(terms["branches_kd"], weight, retain_graph=True, allow_unused=True)[0] is None
    assert torch.autograd.grad(terms["ensemble_ce"], weight)[0].abs().max() > 0


def test_one_records_the_ensemble_of_student_and_branches() -> None:
    trainer = Bench(ONE).trainer()
    method = trainer.method.eval()
    trainer.student.eval()
    (ensemble,) = method.networks(trainer.student, trainer.read_student).values()
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(ensemble(images), method.ensemble(trainer.read_student(images))[1])
    assert set(trainer.student.parameters()) < set(ensemble.parameters())


def test_one_declines_a_student_without_a_map_to_branch_from() -> None:
    with pytest.raises(NotApplicable, match="no feature map before its last"):
        built(ONE, features=((4, 8, 8),))
