"""What a network in training says of the test images, which no method sees."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from kdbench.method import Stage
from kdbench.schedule import evaluated, evaluations
from kdbench.training.prediction import predict
from kdbench.training.step import MAIN, Stepping


class Evaluating(Stepping):
    """A training whose network is evaluated after some of its epochs, and at its end; attributes are the trainer's."""

    test_labels: Tensor
    stages: list[Stage]
    epochs_done: int
    deployed: nn.Module
    is_suites: bool
    twin: Callable[[], nn.Module] | None

    @property
    def epochs(self) -> int:
        """Of all stages."""
        return sum(stage.epochs for stage in self.stages)

    def predict(self, network: nn.Module | None = None) -> Tensor:
        """Logits (I, C) of the test images: of the network that is ranked, or of another."""
        return predict(network or self.ranked(), self.images.test(), self.device, self.recipe.precision)

    def ranked(self) -> nn.Module:
        """The network that is evaluated: the suite's student with the weights that are deployed, so that nothing of the
        method runs; what the method deploys, where these are no weights of that student.
        """
        if self.twin is None or not self.is_suites:
            return self.deployed
        twin = self.twin()
        twin.load_state_dict(self.deployed.state_dict())
        return twin

    @property
    def evaluations(self) -> int:
        """How often the test accuracy is taken in the main stage, once that was entered."""
        return evaluations(self.stages[-1].epochs, self.recipe.epochs, self.samples, len(self.test_labels))

    def is_evaluated(self) -> bool:
        """Whether the test accuracy is taken after the epoch that was trained last."""
        epochs = self.stages[-1].epochs
        done = epochs - (self.epochs - self.epochs_done)
        return self.stage.name == MAIN and done in evaluated(epochs, self.evaluations)

    def test_top1(self) -> float:
        """Test accuracy in percent: a diagnostic, never shown to the method."""
        return 100 * (self.predict().argmax(1) == self.test_labels).float().mean().item()
