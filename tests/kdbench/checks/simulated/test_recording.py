"""A recorded graph has no effect until it is replayed, and then works on the memory that it was recorded on."""

from __future__ import annotations

import pytest
import torch

from kdbench.checks.simulated import GPU, WaitsForDevice, simulated_gpu


def test_a_replay_reads_and_changes_the_same_memory() -> None:
    with simulated_gpu():
        total, step = torch.zeros(1, device=GPU), torch.ones(1, device=GPU)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=torch.cuda.Stream(GPU)):
            doubled = 2 * step
            total += doubled
        assert total.item() == 0
        for value in (1.0, 5.0):
            step.fill_(value)
            graph.replay()
        assert (total.item(), doubled.item()) == (12.0, 10.0)


def test_what_python_holds_is_frozen_and_what_it_rebinds_goes_unseen() -> None:
    with simulated_gpu():
        total, weight = torch.zeros(1, device=GPU), 1.0
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=torch.cuda.Stream(GPU)):
            total += weight
        weight, kept = 7.0, total
        total = torch.full((1,), 100.0, device=GPU)
        graph.replay()
        assert (total.item(), kept.item(), weight) == (100.0, 1.0, 7.0)


def test_draws_go_on_from_replay_to_replay_as_they_would_without_a_graph() -> None:
    with simulated_gpu():
        generator = torch.Generator("cuda").manual_seed(3)
        expected = [torch.rand(2, generator=generator, device=GPU).tolist() for _ in range(3)]
        generator.manual_seed(3)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=torch.cuda.Stream(GPU)):
            drawn = torch.rand(2, generator=generator, device=GPU)
        found = []
        for _ in range(3):
            graph.replay()
            found.append(drawn.tolist())
        assert found == expected


def test_a_wait_spoils_a_recording() -> None:
    with simulated_gpu():
        before = torch.cuda.current_stream(GPU)
        with (
            pytest.raises(WaitsForDevice, match="not permitted when stream is capturing"),
            torch.cuda.graph(torch.cuda.CUDAGraph(), stream=torch.cuda.Stream(GPU)),
        ):
            torch.ones(1, device=GPU).item()
        assert torch.cuda.current_stream(GPU) is not before  # as PyTorch leaves it
        assert torch.ones(1, device=GPU).item() == 1.0
