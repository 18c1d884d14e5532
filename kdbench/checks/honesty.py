"""What a method reads and touches: what it declares, and never the test set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from kdbench.checks.bench import Bench, batches, evaluate, fail_if, first_difference, output_tensors, state
from kdbench.foreign import of_import, watching_method
from kdbench.given import GIVEN, Outputs, Read, Required
from kdbench.method import Method


def reads_what_it_requires(bench: Bench) -> None:
    """`requires` names all that build and loss read, and nothing else."""
    read: set[str] = set()
    get = Required._get

    def watched(self: Required, name: str) -> Any:
        read.add(f"{self._role}.{name}")
        return get(self, name)

    Required._get = watched  # type: ignore[method-assign]
    try:
        for params in ({}, zero_weights(bench.cls)):
            trainer = bench.trainer(params=params)
            for batch in batches(trainer):
                evaluate(trainer, batch)
    except AttributeError as error:
        fail_if("requires" in str(error), str(error))
        raise
    finally:
        Required._get = get  # type: ignore[method-assign]
    superfluous = sorted(set(bench.cls.requires) - read - GIVEN - {"student.logits"})
    if "student.logits" in bench.cls.requires - read and len(read & bench.cls.requires) == 0:
        superfluous.append("student.logits")
    fail_if(
        bool(superfluous),
        f"`requires` names '{(superfluous or [''])[0]}', which is never read: remove it, it costs a computation.",
    )


def zero_weights(cls: type[Method]) -> dict[str, float]:
    """The loss weights that are 0 by default, set to 1: their terms may read more."""
    fields = cls.Params.model_fields.items()
    return {name: 1.0 for name, field in fields if name.endswith("_weight") and field.default == 0}


def leaves_its_inputs_alone(bench: Bench) -> None:
    """Images, labels and outputs are not changed in place."""
    trainer = bench.trainer()
    noted: list[tuple[str, Tensor, int]] = []

    def noting(read: Read) -> Read:
        def note(images: Tensor) -> Outputs:
            outputs = read(images)
            noted.extend((name, tensor, tensor._version) for name, tensor in output_tensors(outputs))
            return outputs

        return note

    trainer.read_student = noting(trainer.read_student)
    trainer.read_teacher = noting(trainer.read_teacher) if trainer.read_teacher else None
    for batch in batches(trainer):
        given = {f"batch.{name}": getattr(batch, name) for name in ("images", "labels", "index")}
        noted[:] = [(name, tensor, tensor._version) for name, tensor in given.items()]
        evaluate(trainer, batch)
        for name, tensor, version in noted:
            fail_if(tensor._version != version, f"{name} is changed in place, which others read: work on a copy.")


def sees_no_test_data(bench: Bench) -> None:
    """Another test set changes nothing, and nothing but files of its own package is opened, at import or later."""
    ends = []
    with watching_method(bench.cls) as watching:
        for test_seed in range(2):
            trainer = bench.trainer(test_seed=test_seed)
            trainer.replan(replace(stage, epochs=1, cycles=1) for stage in trainer.stages)
            while trainer.epochs_done < trainer.epochs:
                trainer.next_epoch()
                trainer.test_top1()  # as between epochs: what observes in evaluation mode would remember it
            deployed = {f"deployed.{k}": v for k, v in trainer.deployed.state_dict().items() if isinstance(v, Tensor)}
            ends.append(state(trainer) | {name: value.clone() for name, value in deployed.items()})
    for when, strays in (("at import its code", of_import(bench.cls).strays), ("its code", watching.seen.strays)):
        fail_if(
            bool(strays),
            f"{when} {(strays or [''])[0]}: a method has its data from the batch, from setup and from files of its own "
            "package.",
        )
    different = first_difference(*ends)
    fail_if(
        different is not None,
        f"with another test set the training ends otherwise ('{different}' differs): a method must not reach for it.",
    )


def sees_no_data_if_it_is_free_of_them(bench: Bench) -> None:
    """A data-free method ends the same whatever the training images and labels are."""
    if not bench.cls.is_data_free():
        return
    ends = []
    for train_seed in range(2):
        trainer = bench.trainer(train_seed=train_seed)
        bench.train(trainer)
        ends.append(state(trainer))
    different = first_difference(*ends)
    fail_if(
        different is not None,
        f"with other training images and labels it ends otherwise ('{different}' differs): a data-free method has its "
        "images from itself alone.",
    )
