"""A network that goes on from another's map keeps the statistics of its own images."""

from __future__ import annotations

import pytest
import torch

from kdbench.networks.build import build_network
from kdbench.networks.maps import feature_maps
from kdbench.networks.outputs import OutputReader
from kdbench.networks.statistics import still_statistics
from kdbench.running.method_setup import from_map_still
from kdbench.suite import Suite

IMAGES = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_from_a_map_a_student_in_training_goes_on_as_it_would_and_keeps_its_statistics(digits: Suite) -> None:
    student = build_network(digits, "resnet8_w4", seed=0).train()
    read = OutputReader("student", student, {"logits", "features"}, feature_maps(student, IMAGES[:1]))
    whole = read(IMAGES)
    before = {name: buffer.clone() for name, buffer in student.named_buffers()}
    for position, feature in enumerate(whole.features[:-1]):
        rest = from_map_still(read, position, feature)
        assert torch.allclose(rest.logits, whole.logits, atol=1e-6)
        assert all(map(torch.allclose, rest.features, whole.features[position + 1 :]))
    assert all(torch.equal(buffer, before[name]) for name, buffer in student.named_buffers())
    read(IMAGES)
    assert not torch.equal(before["bn1.running_mean"], student.bn1.running_mean)


def test_statistics_move_again_after_an_error(digits: Suite) -> None:
    student = build_network(digits, "resnet8_w4", seed=0)
    with pytest.raises(RuntimeError), still_statistics(student):
        raise RuntimeError
    assert student.bn1.track_running_stats
