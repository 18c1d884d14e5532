"""The protocol that a method is trained under: the suite's student, its optimizer, its images, and its network."""

from __future__ import annotations

import torch

from kdbench.checks.bench import Bench, batches, fail_if
from kdbench.training.guard import ANOTHER, StepWatch


def declares_changed_images(bench: Bench) -> None:
    """A method that changes the images says so, in `view` and in `deviations`."""
    trainer = bench.trainer()
    for batch in batches(trainer):
        seen = trainer.method.inputs(batch)
        if seen.images is not batch.images:
            fail_if(
                seen.view is not None,
                "inputs changes the images and keeps `view`: return replace(batch, images=..., view=None).",
            )
            fail_if(
                not bench.cls.deviations,
                "inputs changes the images, which the protocol does not: name it in `deviations`.",
            )


def keeps_to_the_recipe(bench: Bench) -> None:
    """Nothing but the suite's optimizer trains the student, which stays as the suite made it; every step is watched.

    What the protocol does not have and a method may do, it names among its deviations.
    """
    trainer = bench.trainer()
    for stage in trainer.stages:
        trainer.enter(stage)
        for epoch in range(min(2, stage.epochs)):
            trainer.begin_epoch(epoch)
            feed = trainer.feed(epoch)
            for i in range(len(feed.step)):
                batch = trainer.batch(feed, i)
                trainer.step(batch, StepWatch(trainer.guard, batch))
    with trainer.watching("networks"):
        trainer.method.networks(trainer.student, trainer.readers["student"])
    found = [said for said in trainer.guard.declared if said != ANOTHER]  # which a method may, and the record says
    fail_if(
        bool(found) and not bench.cls.deviations,
        f"{(found or [''])[0]}, which the protocol does not: leave it, or name it in `deviations`.",
    )


def deploys_what_it_trained(bench: Bench) -> None:
    """What is deployed holds the trained student, or is one more network like it and answers as its weights say."""
    trainer = bench.trainer()
    if trainer.is_suites:
        wrong = not torch.allclose(trainer.predict(), trainer.predict(trainer.deployed), atol=1e-5)
        fail_if(
            wrong,
            "what is deployed answers otherwise than the suite's student with its weights, which is what is evaluated: "
            "leave the student's forward pass as it is.",
        )
        return
    trained = {id(parameter) for parameter in trainer.student.parameters()}
    fail_if(
        not any(id(parameter) in trained for parameter in trainer.deployed.parameters()),
        "another network than the suite's student is deployed, and none of the student's weights is in it: deploy the "
        "student, or a network of its architecture; show others with networks().",
    )
