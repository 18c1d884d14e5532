"""What a method trains of its own: further networks, and an optimizer for what must not follow the suite's recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kdbench.given import Outputs
from kdbench.networks.outputs import OutputReader


class OwnNetwork(nn.Module):
    """A network of the suite's architectures beside the student: a peer, an earlier generation, an assistant.

    Its parameters are the method's, trained with the student's by the suite's optimizer.

    Args:
        model: a timm model, from images to logits.
        read: makes its outputs, an `OutputReader`.
        precision: a context in which it runs, that of the suite.
    """

    def __init__(
        self, model: nn.Module, read: OutputReader, precision: Callable[[], AbstractContextManager[object]]
    ) -> None:
        super().__init__()
        self.model = model
        self.read, self.precision = read, precision

    def forward(self, images: Tensor) -> Outputs:
        """Its outputs for images (B, C, H, W): the logits, and what the method requires of its role."""
        with self.precision():
            return self.read(images)

    @torch.no_grad()
    def frozen(self, images: Tensor) -> Outputs:
        """Its outputs as a teacher: in evaluation mode, without gradients."""
        training = self.model.training
        self.model.eval()
        outputs = self(images)
        self.model.train(training)
        return outputs


class OwnNetworks(nn.ModuleList):
    """Several of them, each registered with the method: a list whose items a type checker knows."""

    def __init__(self, networks: Iterable[OwnNetwork] = ()) -> None:
        super().__init__(networks)

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[OwnNetwork]: ...
        def __getitem__(self, index: int) -> OwnNetwork: ...  # type: ignore[override]  # no slices


class Adam(nn.Module):
    """Adam for parameters of a method's own, which the suite's optimizer then leaves alone. Its state is checkpointed.

    self.generator_adam = Adam(self.generator.parameters(), learning_rate=1e-3)     in build
    self.generator_adam.minimise(loss)                                              in inputs, loss or before_epoch
    self.generator_adam.step(gradients)                                             the same, of gradients

    Args:
        parameters: what it trains; nothing else gets a gradient from the losses that it minimises.
        betas: decay of the running means of the gradient and of its square.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], learning_rate: float, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        super().__init__()
        self.targets = tuple(parameters)
        self.learning_rate = learning_rate
        self.optimizer = torch.optim.Adam(self.targets, lr=learning_rate, betas=betas, fused=True)
        for i, parameter in enumerate(self.targets):
            self.register_buffer(f"mean_{i}", torch.zeros_like(parameter))
            self.register_buffer(f"square_{i}", torch.zeros_like(parameter))
            self.register_buffer(f"step_{i}", torch.zeros((), dtype=torch.float32))

    def minimise(self, loss: Tensor, learning_rate: float | Tensor | None = None) -> None:
        """One step down a 0-dim loss.

        Args:
            learning_rate: of this step, if not the one given at first: a number, or a 0-dim tensor on the device.
        """
        self.step(torch.autograd.grad(loss, self.targets), learning_rate)

    def step(self, gradients: Sequence[Tensor], learning_rate: float | Tensor | None = None) -> None:
        """One step down gradients that the method computed itself.

        Args:
            gradients: one for each parameter, in their order and of their shapes.
            learning_rate: as in `minimise`.

        Raises:
            ValueError: more or fewer gradients than parameters.
        """
        for i, (parameter, gradient) in enumerate(zip(self.targets, gradients, strict=True)):
            parameter.grad = gradient  # refuses another shape or type
            if gradient.stride() != parameter.stride():  # which the fused kernel takes to be equal
                parameter.grad = torch.empty_like(parameter).copy_(gradient)
            self.optimizer.state[parameter] = {
                "exp_avg": self.get_buffer(f"mean_{i}"),
                "exp_avg_sq": self.get_buffer(f"square_{i}"),
                "step": self.get_buffer(f"step_{i}"),
            }
        group = self.optimizer.param_groups[0]
        group["lr"] = self.learning_rate if learning_rate is None else learning_rate
        group["capturable"] = self.targets[0].is_cuda  # known once the method has been moved
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def restart(self) -> None:
        """Forget the running means, for parameters that begin anew."""
        for buffer in self.buffers():
            buffer.zero_()
