"""Only what is required is computed; two networks' stages are paired by position, else by depth."""

from __future__ import annotations

import pytest
import torch

from kdbench.errors import NotApplicable
from kdbench.networks.build import build_network, count_macs, count_parameters
from kdbench.networks.maps import FeatureMap, feature_maps, match_maps, paired_by, stem_and_stages, stem_maps
from kdbench.networks.outputs import OutputReader
from kdbench.suite import Suite

EXAMPLE = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def a_map(stride: float, depth: float) -> FeatureMap:
    return FeatureMap(0, f"s{stride:g}d{depth:g}", (4, 8, 8), stride, depth)


def names(pairs: list[tuple[FeatureMap, FeatureMap]]) -> list[tuple[str, str]]:
    return [(student.name, teacher.name) for student, teacher in pairs]


def test_a_network_offers_the_maps_of_its_stages_and_its_stem(digits: Suite) -> None:
    network = build_network(digits, "resnet8_w4")
    assert [(m.name, m.shape, m.depth) for m in stem_maps(network, EXAMPLE)] == [("act1", (4, 8, 8), 0)]
    found = feature_maps(network, EXAMPLE)
    assert [(m.name, m.shape, m.stride) for m in found] == [
        ("layer1", (4, 8, 8), 1),
        ("layer2", (8, 4, 4), 2),
        ("layer3", (16, 2, 2), 4),
    ]


def test_isotropic_networks_offer_maps_at_quarters_of_their_depth(digits: Suite) -> None:
    found = feature_maps(build_network(digits, "vit_w32"), EXAMPLE)
    assert [(m.index, m.shape, m.depth) for m in found] == [(i, (32, 2, 2), (i + 1) / 4) for i in range(4)]
    assert not stem_maps(build_network(digits, "vit_w32"), EXAMPLE)


def described(*reductions: int, stem: int | None = None) -> list[dict[str, object]]:
    return [dict(reduction=r) | ({"stem": True} if i == stem else {}) for i, r in enumerate(reductions)]


def test_of_a_declared_stem_all_other_maps_are_stages_even_of_one_stride() -> None:
    assert stem_and_stages(described(1, 2, 4, 8, 8, stem=0)) == ([0], [1, 2, 3, 4])


def test_without_a_declaration_the_last_map_of_each_of_the_last_four_reductions_is_a_stages() -> None:
    assert stem_and_stages(described(2, 2, 4, 8, 8, 16, 32)) == ([1], [2, 4, 5, 6])
    assert stem_and_stages(described(4, 8, 16, 32)) == ([], [0, 1, 2, 3])
    assert stem_and_stages(described(*[16] * 12)) == ([], [2, 5, 8, 11])


def test_networks_of_equally_many_stages_are_paired_by_position() -> None:
    student = [a_map(2, 1 / 3), a_map(4, 2 / 3), a_map(8, 1)]
    teacher = [a_map(1, 1 / 3), a_map(2, 2 / 3), a_map(4, 1)]
    assert paired_by(student, teacher) == "position"
    assert [(s.stride, t.stride) for s, t in match_maps(student, teacher)] == [(2, 1), (4, 2), (8, 4)]


def test_other_networks_are_paired_by_relative_depth() -> None:
    hierarchical = [a_map(1, 1 / 3), a_map(2, 2 / 3), a_map(4, 1)]
    isotropic = [a_map(4, d / 4) for d in (1, 2, 3, 4)]
    expected = [(1 / 3, 1 / 4), (2 / 3, 3 / 4), (1, 1)]
    assert paired_by(hierarchical, isotropic) == paired_by(isotropic, hierarchical) == "depth"
    assert [(s.depth, t.depth) for s, t in match_maps(hierarchical, isotropic)] == expected
    assert [(t.depth, s.depth) for s, t in match_maps(isotropic, hierarchical)] == expected


@pytest.mark.parametrize(("few", "many"), [(2, 3), (2, 5), (3, 4), (3, 5), (4, 5), (4, 9)])
def test_by_depth_no_stage_faces_two_and_the_last_faces_the_last(few: int, many: int) -> None:
    short, long = ([a_map(2**i, (i + 1) / n) for i in range(n)] for n in (few, many))
    faced = [long.index(teacher) for _, teacher in match_maps(short, long)]
    assert sorted(set(faced)) == faced
    assert faced[-1] == many - 1
    assert [(t, s) for s, t in match_maps(long, short)] == match_maps(short, long)


def test_a_network_with_one_map_is_an_error_that_names_both_and_what_each_offers() -> None:
    names = ("student small", "teacher big")
    small, big = [a_map(4, 1)], [a_map(4, 0.5), a_map(8, 1)]
    offers = r"student small offers s4d1 \(4x8x8\); teacher big offers s4d0.5 \(4x8x8\), s8d1 \(4x8x8\)"
    with pytest.raises(NotApplicable, match=offers):
        match_maps(small, big, names)
    with pytest.raises(NotApplicable, match=r"student small offers none; teacher big offers s4d1 \(4x8x8\)"):
        match_maps([], small, names)


@pytest.mark.parametrize("model", ["resnet8_w4", "vit_w32"])
def test_outputs_belong_to_one_forward_pass(model: str, digits: Suite) -> None:
    network = build_network(digits, model, seed=0).eval()
    read = OutputReader("student", network, {"logits", "embedding", "features"}, feature_maps(network, EXAMPLE))
    outputs = read(EXAMPLE)
    assert torch.allclose(outputs.logits, network(EXAMPLE), atol=1e-6)
    assert torch.allclose(network.get_classifier()(outputs.embedding), outputs.logits, atol=1e-6)
    shapes = read.shapes(EXAMPLE[:1])
    assert shapes.embedding == outputs.embedding.shape[1]
    assert shapes.features == tuple(tuple(f.shape[1:]) for f in outputs.features)


def test_a_stem_is_read_beside_or_without_the_stages(digits: Suite) -> None:
    network = build_network(digits, "resnet8_w4", seed=0).eval()
    stem = stem_maps(network, EXAMPLE)
    maps = network.forward_intermediates(EXAMPLE, intermediates_only=True)
    alone = OutputReader("student", network, {"stem"}, stem=stem)
    assert torch.equal(alone(EXAMPLE).stem[0], maps[0])
    assert alone.shapes(EXAMPLE[:1]).stem == ((4, 8, 8),)
    beside = OutputReader("student", network, {"stem", "features"}, feature_maps(network, EXAMPLE), stem)(EXAMPLE)
    assert all(map(torch.equal, [*beside.stem, *beside.features], maps))
    none = OutputReader("student", build_network(digits, "vit_w32"), {"stem", "logits"})
    assert none.shapes(EXAMPLE[:1]).stem == ()


def test_an_output_that_is_not_required_says_what_to_add(digits: Suite) -> None:
    outputs = OutputReader("teacher", build_network(digits, "resnet8"), {"logits"})(EXAMPLE)
    with pytest.raises(AttributeError, match=r"add 'teacher[.]embedding' to `requires`"):
        _ = outputs.embedding


def test_parameters_and_macs_are_those_counted_by_hand(digits: Suite) -> None:
    network = build_network(digits, "resnet8_w4")
    convolutions = (
        64 * (1 * 4 + 4 * 4 * 2) * 9 + 16 * (4 * 8 * 9 + 8 * 8 * 9 + 4 * 8) + 4 * (8 * 16 * 9 + 16 * 16 * 9 + 8 * 16)
    )
    assert count_macs(network, EXAMPLE[:1]) == convolutions + 16 * 10
    assert count_parameters(network) == 5142


def test_initial_weights_depend_on_the_seed_alone(digits: Suite) -> None:
    torch.manual_seed(5)
    one = build_network(digits, "vit_w32", seed=3).state_dict()
    torch.randn(7)
    other = build_network(digits, "vit_w32", seed=3).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
