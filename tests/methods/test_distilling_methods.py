"""Methods that distil data: their losses are those of their authors' code, their choices those of their equations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kdbench.checks.bench import Bench, small_suite
from kdbench.checks.distilling import balanced, work
from kdbench.given import Outputs
from kdbench.models.convnet import ConvNet
from kdbench.plugins import load_method
from kdbench.running.synthetic import to_pixels
from kdbench_methods.dc import DC, gradient_distance
from kdbench_methods.dm import mean_distance
from kdbench_methods.herding import herd
from kdbench_methods.parts.siamese import KINDS, Augmentation
from tests.conftest import golden

GOLDEN = json.loads((Path(__file__).parent / "distilling_goldens.json").read_text())
SHAPES = ([8, 3, 3, 3], [8], [8, 8, 3, 3], [5, 16])


class Network(nn.Module):
    """The authors' network with closed-form weights, as methods see one."""

    def __init__(self) -> None:
        super().__init__()
        self.model = ConvNet(depth=2, width=8, img_size=8, in_chans=3, num_classes=4).double()
        with torch.no_grad():
            for k, weight in enumerate(self.model.parameters()):
                weight.copy_(0.2 * golden(list(weight.shape), 0.31 + 0.05 * k, 0.2) + (weight.ndim == 1))

    def forward(self, images: Tensor) -> Outputs:
        embedding = self.model.forward_head(self.model.forward_features(images), pre_logits=True)
        return Outputs("teacher", logits=self.model.fc(embedding), embedding=embedding)


REAL, OWN = golden([6, 3, 8, 8], 0.23, 0.4), golden([2, 3, 8, 8], 0.37, 0.9)


def test_gradients_are_compared_as_in_the_authors_code() -> None:
    one = [golden(shape, 0.11 + 0.02 * k, 0.3) for k, shape in enumerate(SHAPES)]
    other = [golden(shape, 0.19 + 0.03 * k, 0.7) for k, shape in enumerate(SHAPES)]
    assert gradient_distance(one, other).item() == pytest.approx(GOLDEN["gradient_distance"], rel=1e-6)
    assert gradient_distance(one, one).item() == pytest.approx(0, abs=1e-5)


def test_gradient_matching_has_the_authors_loss_and_gradient() -> None:
    network, images = Network(), OWN.clone().requires_grad_()
    assert network(REAL).logits.sum().item() == pytest.approx(GOLDEN["dc"]["logits"], rel=1e-9)
    method = DC(DC.Params())
    loss = method.distance(network, list(network.parameters()), 1, REAL, images)
    assert loss.item() == pytest.approx(GOLDEN["dc"]["loss"], rel=1e-6)
    assert torch.autograd.grad(loss, images)[0].norm().item() == pytest.approx(GOLDEN["dc"]["gradient"], rel=1e-6)


def test_distribution_matching_has_the_authors_loss_and_gradient() -> None:
    network, images = Network(), OWN.clone().requires_grad_()
    loss = mean_distance(network(images).embedding, network(REAL).embedding.detach())
    assert loss.item() == pytest.approx(GOLDEN["dm"]["loss"], rel=1e-6)
    assert torch.autograd.grad(loss, images)[0].norm().item() == pytest.approx(GOLDEN["dm"]["gradient"], rel=1e-6)


@pytest.mark.parametrize("case", GOLDEN["augmentations"], ids=lambda case: case["kind"])
def test_augmentations_are_those_of_the_authors_code(case: dict) -> None:
    images, weights = golden([3, 3, 8, 8], 0.41, 0.2), golden([3, 3, 8, 8], 0.13, 0.6)
    found = KINDS[case["kind"]](images, torch.tensor(case["numbers"], dtype=torch.float64).expand(3, -1))
    assert found.sum().item() == pytest.approx(case["sum"], rel=1e-4, abs=1e-4)
    assert (found * weights).sum().item() == pytest.approx(case["weighted"], rel=1e-4, abs=1e-4)


def test_golden_values_say_where_they_come_from() -> None:
    assert set(GOLDEN["source"]) == {"repository", "commit", "files"}
    assert len(GOLDEN["source"]["commit"]) == 40


def test_real_and_learned_images_are_augmented_alike_and_learned_ones_each_by_itself() -> None:
    images = torch.rand(4, 3, 8, 8)
    one = Augmentation("crop_rotate_scale").drawn(1, torch.Generator().manual_seed(1))
    assert torch.equal(one(images)[2:], one(images[2:]))
    same = images[:1].expand(4, -1, -1, -1)
    each = Augmentation("rotate").drawn(4, torch.Generator().manual_seed(1))(same)
    assert not torch.allclose(each[0], each[1])


def test_an_unknown_augmentation_is_named() -> None:
    with pytest.raises(ValueError, match="no augmentation 'blur'"):
        Augmentation("crop_blur")


def test_herding_follows_the_mean_of_its_class() -> None:
    embeddings = torch.tensor([[0.0], [3.0], [4.0], [10.0]])  # their mean is 4.25
    assert herd(embeddings, 3).tolist() == [2, 1, 3]  # 4; then 3.5 of 3 and 4, nearer than 7 and 2; then 17 / 3


@pytest.mark.parametrize("name", ["dc", "dsa", "dm"])
def test_learned_images_move_and_stay_within_pixels(name: str) -> None:
    found = work(Bench(load_method(name)))
    start = found.method.images.clone()
    found.improve()
    assert not torch.equal(found.method.images, start)
    assert (found.method.images >= found.method.darkest).all()
    assert (found.method.images <= found.method.brightest).all()


def test_images_go_down_the_gradient_with_momentum() -> None:
    method = work(Bench(load_method("dm"))).method
    start, gradient = method.images.clone(), torch.full_like(method.images, 1e-3)
    for _ in range(2):
        method.descend(gradient)
    moved = start - 1.0 * 1e-3 * (1 + 1.5)
    assert torch.allclose(method.images, moved.clamp(method.darkest, method.brightest), atol=1e-6)


def test_a_start_from_noise_is_no_real_image() -> None:
    bench = Bench(load_method("dc"))
    noise = work(bench).method.images
    bench.cls = type("Real", (DC,), {"checked_with": {"start": "real"}})
    real = work(bench).method.images
    known = {image.tobytes() for image in balanced().train_images.numpy()}
    pixels = [to_pixels(images, small_suite().data).numpy() for images in (noise, real)]
    assert [sum(image.tobytes() in known for image in each) for each in pixels] == [0, 6]
