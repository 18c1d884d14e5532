"""What a GPU would refuse: found on a simulated one, since a CPU takes everything."""

from __future__ import annotations

from dataclasses import replace

from kdbench.checks.bench import Bench, CheckFailed
from kdbench.checks.simulated import GPU, MixedDevices, SimulatedGpu, WaitsForDevice, simulated_gpu
from kdbench.training.trainer import Trainer


def runs_on_a_gpu(bench: Bench) -> None:
    """All that the method computes with is on one device, and nothing in a step is copied from one to the other."""
    with simulated_gpu() as gpu:
        try:
            for trainer in bench.trainers("across families", device=GPU):
                train(trainer, gpu)
                evaluate(trainer)
        except MixedDevices as error:
            raise CheckFailed(
                f"on a GPU it fails, a tensor or generator is on the CPU ({error}): make constants buffers "
                "(self.register_buffer), and give device=batch.labels.device to what is made in loss."
            ) from error
        except WaitsForDevice as error:
            raise CheckFailed(
                f"on a GPU the step waits for the device ({error}), and cannot be captured: make constants buffers "
                "(self.register_buffer), and draw on the device (generator=setup.generator, device=...)."
            ) from error


def train(trainer: Trainer, gpu: SimulatedGpu) -> None:
    """The first epoch of each stage, or of each of its cycles."""
    trainer.replan(replace(stage, epochs=stage.cycles) for stage in trainer.stages)
    for done in range(trainer.epochs):
        epoch = trainer.enter_stage(done)
        trainer.begin_epoch(epoch)
        feed = trainer.feed(epoch)
        with gpu.waits_forbidden():
            trainer.run_steps(feed)


def evaluate(trainer: Trainer) -> None:
    """What follows the last epoch: predictions of all networks, and the images that the method made."""
    for network in trainer.method.networks(trainer.student, trainer.readers["student"]).values():
        trainer.predict(network)
    trainer.predict()
    trainer.method.synthetic()
