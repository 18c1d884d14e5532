"""What the methods with a bank of images share: the bank, random crops, statistics of batch norms."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from kdbench_methods.parts.batch_statistics import BatchStatistics, statistics
from kdbench_methods.parts.crops import interpolated, shifted, zoomed
from kdbench_methods.parts.image_bank import ImageBank, Ring

BLACK = torch.tensor([-1.0, -2.0])[:, None, None]


def seeded() -> Generator:
    return Generator().manual_seed(3)


def test_a_ring_keeps_what_was_added_last() -> None:
    ring, added = Ring(7, (2,)), []
    for size in (3, 3, 5, 1, 7):
        rows = torch.randn(size, 2, generator=seeded())
        ring.add(rows)
        added += rows.tolist()
        assert len(ring) == min(7, len(added))
        assert sorted(ring.rows[: len(ring)].tolist()) == sorted(added[-7:])


def test_a_ring_gives_of_what_it_has_alone() -> None:
    ring = Ring(50, (1,))
    ring.add(torch.arange(1.0, 6)[:, None])
    drawn = ring.sample(400, seeded()).flatten()
    assert sorted(set(drawn.tolist())) == [1, 2, 3, 4, 5]
    assert ((drawn == 1).sum() - 80).abs() < 30
    assert len(set(ring.subset(4, seeded()).flatten().tolist())) == 4
    assert sorted(ring.subset(9, seeded()).flatten().tolist()) == [1, 2, 3, 4, 5]


def test_a_bank_keeps_images_to_half_a_byte_and_between_black_and_white() -> None:
    bank = ImageBank(20, (2, 4, 4), mean=(0.3, 0.5), std=(0.2, 0.4))
    pixels = torch.rand(9, 2, 4, 4, generator=seeded()) * 1.4 - 0.2
    bank.add((pixels - bank.mean) / bank.std)
    kept = bank.some(100) * bank.std + bank.mean
    assert kept.shape == pixels.shape
    assert torch.allclose(kept, pixels.clamp(0, 1), atol=0.5 / 255 + 1e-6)
    black, white = bank.range
    assert torch.allclose(black * bank.std + bank.mean, torch.zeros(2, 1, 1), atol=1e-6)
    assert torch.allclose(white * bank.std + bank.mean, torch.ones(2, 1, 1))
    assert len(bank.some(4)) == 4


def test_a_shifted_image_is_a_crop_of_it_in_a_frame() -> None:
    images = torch.randn(40, 2, 5, 6, generator=seeded())
    crops = shifted(images, padding=2, flip=True, outside=BLACK, random=seeded())
    framed = F.pad(images - BLACK, (2, 2, 2, 2)) + BLACK
    found = set()
    for crop, frame in zip(crops, framed, strict=True):
        windows = {(top, left): frame[:, top : top + 5, left : left + 6] for top in range(5) for left in range(5)}
        options = {(*place, turned): w.flip(2) if turned else w for place, w in windows.items() for turned in (0, 1)}
        [place] = [place for place, option in options.items() if torch.allclose(option, crop, atol=1e-6)]
        found.add(place)
    assert len(found) > 20
    assert {turned for *_, turned in found} == {0, 1}
    assert torch.equal(shifted(images, 0, False, BLACK, seeded()), (images - BLACK) + BLACK)


def test_interpolation_is_that_of_pytorch_within_the_image() -> None:
    images = torch.randn(3, 2, 5, 6, generator=seeded())
    rows, columns = torch.rand(3, 5, generator=seeded()) * 4, torch.rand(3, 6, generator=seeded()) * 5
    grid = torch.stack(
        [(columns / 5 * 2 - 1)[:, None, :].expand(3, 5, 6), (rows / 4 * 2 - 1)[:, :, None].expand(3, 5, 6)], dim=3
    )
    expected = F.grid_sample(images, grid, align_corners=True)
    assert torch.allclose(interpolated(images, rows, columns, BLACK), expected, atol=1e-5)


def test_a_zoomed_image_is_a_part_of_it_of_the_wanted_area() -> None:
    places = torch.stack(torch.meshgrid(torch.arange(33.0), torch.arange(33.0), indexing="ij"))  # every pixel's own
    parts = zoomed(places.expand(300, -1, -1, -1), least=0.25, flip=True, outside=BLACK, random=seeded())
    first, last = parts[:, :, 0, 0] / 32, parts[:, :, -1, -1] / 32
    assert parts.min() >= -1e-4
    assert parts.max() <= 32 + 1e-4
    height, width = (last - first).unbind(dim=1)
    assert 100 < (width < 0).sum() < 200  # mirrored
    area, ratio = height * width.abs(), width.abs() / height
    assert 0.2 < area.min() < 0.3
    assert area.max() > 0.9
    assert ratio.min() > 0.74
    assert ratio.max() < 1.34


def test_crops_pass_gradients_on() -> None:
    images = torch.randn(4, 2, 5, 5, generator=seeded()).requires_grad_()
    for crops in (shifted(images, 1, True, BLACK, seeded()), zoomed(images, 0.3, True, BLACK, seeded())):
        [gradient] = torch.autograd.grad(crops.sum(), images)
        assert gradient.abs().sum(dim=(1, 2, 3)).min() > 0


class Small(nn.Module):
    """Two convolutions with batch norm, and the inputs of the latter as outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 4, 3)
        self.second, self.first = nn.BatchNorm2d(4), nn.BatchNorm2d(3)
        for norm in (self.first, self.second):
            norm.running_mean.normal_(generator=seeded())  # type: ignore[union-attr]
            norm.running_var.uniform_(0.5, 2, generator=seeded())  # type: ignore[union-attr]

    def forward(self, images: Tensor) -> list[Tensor]:
        one = self.one(images)
        two = self.two(self.first(one).relu_())
        self.second(two).relu_()
        return [one, two]


def test_the_loss_of_statistics_is_a_sum_over_layers_and_channels() -> None:
    network = Small().eval()
    batch_statistics = BatchStatistics(network)
    with batch_statistics.watched() as given:
        maps = network(torch.randn(5, 2, 8, 8, generator=seeded()))
        loss = batch_statistics.loss(given)
    expected = 0.0
    for feature, norm in zip(maps, (network.first, network.second), strict=True):
        means, variances = 0.0, 0.0
        for channel in range(feature.shape[1]):
            values = feature[:, channel].flatten().tolist()
            mean = sum(values) / len(values)
            variance = sum((value - mean) ** 2 for value in values) / len(values)
            means += (mean - norm.running_mean[channel].item()) ** 2  # type: ignore[index]
            variances += (variance - norm.running_var[channel].item()) ** 2  # type: ignore[index]
        expected += means**0.5 + variances**0.5
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_statistics_are_those_that_a_batch_norm_takes() -> None:
    feature = torch.randn(6, 3, 4, 4, generator=seeded())
    norm = nn.BatchNorm2d(3, momentum=1.0)
    norm(feature)
    mean, variance = statistics(feature)
    assert torch.allclose(mean, norm.running_mean, atol=1e-6)  # type: ignore[arg-type]
    assert torch.allclose(variance, norm.running_var * 95 / 96, atol=1e-6)  # type: ignore[operator]


def test_a_network_is_not_watched_for_longer_than_needed() -> None:
    network = Small().eval()
    batch_statistics = BatchStatistics(network)
    with pytest.raises(RuntimeError), batch_statistics.watched() as given:
        network(torch.randn(2, 3, 8, 8))  # a channel too many
    assert given == []
    assert not network.first._forward_pre_hooks
    assert not network.second._forward_pre_hooks


def test_without_batch_norm_there_are_no_statistics() -> None:
    batch_statistics = BatchStatistics(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, track_running_stats=False)))
    with batch_statistics.watched() as given:
        assert given == []
        assert batch_statistics.loss(given) == 0
