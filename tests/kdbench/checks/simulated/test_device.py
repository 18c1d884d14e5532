"""The simulated GPU refuses what CUDA refuses, counts what CUDA waits for, and computes as the CPU does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.checks.simulated import GPU, MixedDevices, OnGpu, WaitsForDevice, simulated_gpu

Run = Callable[[Tensor], object]


def test_tensors_say_that_they_are_on_the_gpu_wherever_they_come_from() -> None:
    with simulated_gpu():
        made = [
            torch.zeros(2, device="cuda"),
            torch.tensor([1.0, 2.0], device=GPU),
            torch.ones(2).to(GPU) + 1,
            torch.randn(2, generator=torch.Generator("cuda").manual_seed(1), device=GPU),
            nn.Linear(2, 2).to(GPU).weight,
            F.one_hot(torch.ones(2, dtype=torch.int64, device=GPU), 3),
            torch.zeros(2, device=GPU).new_ones(3),
        ]
        assert [tensor.device for tensor in made] == [GPU] * len(made)
        assert all(tensor.is_cuda and not tensor.is_cpu for tensor in made)
        assert made[2].cpu().tolist() == made[2].tolist() == [2.0, 2.0]
        assert made[2].to("cpu").device.type == torch.zeros(2).to("cpu").device.type == "cpu"
    assert torch.zeros(1).device.type == "cpu"


@pytest.mark.parametrize(
    "run",
    [
        lambda x: x + torch.ones(3),
        lambda x: torch.cat([x, torch.ones(3)]),
        lambda x: x @ torch.ones(3),
        lambda x: x[:1].clone().index_add_(0, torch.zeros(1, dtype=torch.int64), x[:1]),
        lambda x: torch.ones(()).add_(x.sum()),
        lambda x: F.cross_entropy(x[None], torch.zeros(1, dtype=torch.int64)),
        lambda x: torch.randn(3, generator=torch.Generator(), device=x.device),
        lambda x: torch.rand(3, generator=torch.Generator("cuda")),
        nn.Linear(3, 3),
    ],
)
def test_two_devices_in_one_operation_are_refused(run: Run) -> None:
    with simulated_gpu(), pytest.raises(MixedDevices):
        run(torch.ones(3, device=GPU))


@pytest.mark.parametrize(
    "run", [lambda x: x * torch.tensor(2.0), lambda x: torch.where(x > 0, x, torch.tensor(0.0)), lambda x: x / 3]
)
def test_a_single_number_of_the_cpu_joins_pointwise_operations(run: Run) -> None:
    with simulated_gpu() as gpu, gpu.waits_forbidden():
        assert isinstance(run(torch.ones(3, device=GPU)), OnGpu)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (lambda x: x.sum().item(), "reading a tensor's value"),
        (lambda x: bool(x.sum() > 0), "reading a tensor's value"),
        (lambda x: x.cpu(), "a copy to the CPU"),
        (lambda x: torch.ones(3).to(GPU), "a copy to the GPU"),
        (lambda x: torch.tensor([1.0], device=GPU), "a copy to the GPU"),
        (lambda x: torch.ones(3).to(GPU, non_blocking=True), "a copy to the GPU"),
        (lambda x: x[x > 0], "indexing with a mask"),
        (lambda x: x[torch.zeros(1, dtype=torch.int64)], "indexing with a tensor of the CPU"),
        (lambda x: x.nonzero(), "nonzero"),
        (lambda x: torch.equal(x, x), "equal"),
        (lambda x: torch.multinomial(x, 1), "multinomial"),
    ],
)
def test_waits_are_counted_and_forbidden_on_demand(run: Run, said: str) -> None:
    with simulated_gpu() as gpu:
        x = torch.ones(3, device=GPU)
        run(x)
        assert gpu.waits[said] == 1
        with gpu.waits_forbidden(), pytest.raises(WaitsForDevice, match=said):
            run(x)


def test_the_default_generator_is_seeded_with_pytorch() -> None:
    with torch.random.fork_rng(devices=[]), simulated_gpu():
        drawn = []
        for _ in range(2):
            torch.manual_seed(5)
            drawn.append(torch.rand(3, device=GPU).tolist())
        assert drawn[0] == drawn[1] == torch.rand(3, generator=torch.Generator().manual_seed(5)).tolist()


def test_pinned_memory_is_copied_without_a_wait() -> None:
    with simulated_gpu() as gpu:
        pinned = torch.ones(3).pin_memory()
        with gpu.waits_forbidden():
            assert pinned.to(GPU, non_blocking=True).device == GPU
            with pytest.raises(WaitsForDevice):
                pinned.to(GPU)


def test_gradients_and_a_fused_optimizer_are_those_of_the_cpu() -> None:
    def trained(device: torch.device) -> Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3)).to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=torch.tensor(0.1, device=device), momentum=0.9, fused=True)
        images = torch.randn(5, 1, 8, 8).to(device)
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(images), torch.arange(5).remainder(3).to(device)).backward()
            optimizer.step()
        return torch.cat([p.detach().cpu().flatten() for p in model.parameters()])

    exact = trained(torch.device("cpu"))
    with simulated_gpu():
        simulated = trained(GPU)
    assert torch.equal(exact, simulated)
