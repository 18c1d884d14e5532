"""The student stays the suite's, and its training the recipe's: what a method's hooks change is refused or declared.

Between hooks the student's weights, modes and hyperparameters are compared: around those that run between epochs every
time, around those of a step in one step of an epoch that nobody can foresee. There the optimizer's step is repeated as
the suite would take it. What is declared stands among the deviations on the record.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.given import Batch
from kdbench.tables import Recipe
from kdbench.training.optimizer import STATE, build_optimizer, stepped

ANOTHER = "the network that is deployed is not the one that the suite trained, but another"
NUMBERS = (bool, int, float, str)
ROUNDING = dict(rtol=1e-4, atol=1e-6)  # of one optimizer step, taken twice


class RecipeBroken(TypeError):
    """A method does to the student what only the suite may."""


class Guard:
    """Watches the student of one training.

    Args:
        method: its name, for messages.
        student: with its initial weights.

    Attributes:
        declared: what the method changes of the protocol, in words, as far as it was seen.
        shapes: of the student's weights and buffers, as the suite built it.
    """

    def __init__(self, method: str, student: nn.Module) -> None:
        self.method, self.student = method, student
        self.declared: list[str] = []
        self.looks, self.weights, self.shapes = looks_of(student), copies(student), shapes_of(student)

    def declare(self, said: str) -> None:
        if said not in self.declared:
            self.declared.append(said)

    def refuse(self, hook: str, does: str, advice: str) -> None:
        raise RecipeBroken(f"{self.method}.{hook} {does}: {advice}")

    def after_build(self, may_change: bool) -> None:
        """What `build` made of the student: declared for a method that requires the network itself.

        Raises:
            RecipeBroken: another method changed it.
        """
        found = changed_looks(self.looks, looks_of(self.student))
        if not found and (name := changed_tensor(self.weights, self.student)):
            found = f"its initial '{name}'"
        if found and not may_change:
            self.refuse("build", f"changes the student ({found})", "name 'student.network' in `requires` if it must")
        if found:
            self.declare(f"the student is changed before its training: {found}")
        self.weights = {}  # whose memory the training may need

    def before_steps(self, own_steps: Sequence[nn.Parameter], deployed: nn.Module) -> None:
        """No optimizer of the method's own has the student's parameters; another network that is deployed is declared.

        Raises:
            RecipeBroken: one has.
        """
        theirs = {id(parameter) for parameter in own_steps}
        for name, parameter in self.student.named_parameters():
            if id(parameter) in theirs:
                does = f"gives the student's '{name}' to an Adam of its own"
                self.refuse("build", does, "the suite's optimizer alone trains it")
        trained = {id(parameter) for parameter in self.student.parameters()}
        if deployed is not self.student and not trained & {id(p) for p in deployed.parameters()}:
            self.declare(ANOTHER)

    def declare_momenta(self, momenta: Mapping[str, float]) -> None:
        """Terms of the loss have momenta of their own."""
        for term, momentum in momenta.items():
            self.declare(f"the gradients of '{term}' have a momentum of their own: {momentum:g}")

    @contextmanager
    def unchanged(self, hook: str) -> Iterator[None]:
        """The student is the same after a hook that runs between epochs; that its statistics move is declared.

        Raises:
            RecipeBroken: it is not.
        """
        looks, weights = looks_of(self.student), copies(self.student)
        yield
        self.compare(hook, looks, looks_of(self.student), weights)

    def compare(self, hook: str, looks: Looks, now: Looks, weights: dict[str, Tensor]) -> None:
        if found := changed_looks(looks, now):
            self.refuse(hook, f"changes the student ({found})", "the suite says how it is trained")
        name = changed_tensor(weights, self.student)
        if name is not None and name in dict(self.student.named_parameters()):
            self.refuse(
                hook, f"changes the student's '{name}'", "the suite's optimizer alone trains it, on what `loss` returns"
            )
        if name is not None:
            self.declare(f"{hook} runs the student in training mode, whose statistics see more than its batches")


Looks = dict[tuple[str, str, str], Any]  # by kind of thing, its name and the attribute


def looks_of(network: nn.Module) -> Looks:
    """What is comparable of a network beside its weights."""
    found: Looks = {}
    for name, module in network.named_modules():
        found["module", name, "kind"] = type(module), type(module).forward
        for key, value in vars(module).items():
            if key.endswith("_hooks"):
                if value:
                    found["module", name, key] = [*map(id, value.values())]
            elif key != "training" and (isinstance(value, NUMBERS) or is_function(value)):
                found["module", name, key] = value
        for key, parameter in module._parameters.items():
            if parameter is not None:
                hooks = (parameter._backward_hooks, getattr(parameter, "_post_accumulate_grad_hooks", None))
                found["parameter", name, key] = id(parameter), parameter.shape
                found["requires_grad", name, key] = parameter.requires_grad
                found["hooks", name, key] = [id(hook) for some in hooks for hook in dict(some or {}).values()]
        for key, buffer in module._buffers.items():
            found["buffer", name, key] = None if buffer is None else buffer.shape
    return found


def is_function(value: object) -> bool:
    return callable(value) and not isinstance(value, nn.Module | type)


def changed_looks(before: Looks, after: Looks) -> str | None:
    """What differs between two looks at a network, in words."""
    if before == after:
        return None
    none = object()
    what = next(w for w in (*before, *after) if before.get(w, none) != after.get(w, none))
    kind, name, key = what
    said = f"{key} of '{name}'" if kind == "module" else f"{kind} {name}.{key}".replace(" .", " ")
    values = before.get(what), after.get(what)
    return f"{said}: {values[0]} became {values[1]}" if all(isinstance(v, NUMBERS) for v in values) else said


def modes_of(network: nn.Module) -> list[bool]:
    return [module.training for module in network.modules()]


def copies(network: nn.Module) -> dict[str, Tensor]:
    """Copies of its weights and buffers."""
    tensors = (*network.named_parameters(), *network.named_buffers())
    return {name: value.detach().clone() for name, value in tensors}


def changed_tensor(before: dict[str, Tensor], network: nn.Module) -> str | None:
    """The first of its parameters that has changed, or else of its buffers."""
    for name, value in (*network.named_parameters(), *network.named_buffers()):
        if name in before and not same(before[name], value.detach()):
            return name
    return None


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal, where nan equals itself."""
    other = other.to(one.device)
    return torch.equal(one, other) or (one.shape == other.shape and bool(((one == other) | one.isnan()).all()))


class StepWatch:
    """Watches one step: what each hook leaves of the student and of what the hooks are given."""

    def __init__(self, guard: Guard, batch: Batch) -> None:
        self.guard, self.student, self.batch = guard, guard.student, batch
        self.given = {name: getattr(batch, name).clone() for name in ("images", "labels", "index")}
        self.expected: list[Tensor] = []
        self.look()

    def look(self) -> None:
        """Take down how the student is now: what it was given is the suite's doing."""
        self.looks, self.weights, self.modes = looks_of(self.student), copies(self.student), modes_of(self.student)

    def after(self, hook: str) -> None:
        """Compare with what was taken down.

        Raises:
            RecipeBroken: the student, its modes or what the hook was given are not as they were.
        """
        guard, modes, looks = self.guard, modes_of(self.student), looks_of(self.student)
        if modes != self.modes:
            mode = "evaluation" if sum(modes) < sum(self.modes) else "training"
            guard.refuse(hook, f"leaves modules of the student in {mode} mode", "put them back as they were")
        guard.compare(hook, self.looks, looks, self.weights)
        for name, value in self.given.items():
            if not same(value, getattr(self.batch, name)):
                guard.refuse(hook, f"changes batch.{name} in place", "others read it; work on a copy")

    def after_inputs(self, seen: Batch, is_data_free: bool) -> None:
        """Declare what `inputs` gives the networks in place of the suite's batch."""
        self.after("inputs")
        if is_data_free:
            return
        given, declare = self.batch, self.guard.declare
        for name in ("images", "labels"):
            one, other = getattr(given, name), getattr(seen, name)
            if len(other) != len(one):
                declare(f"inputs gives {len(other)} {name} for {len(one)} of a batch")
            elif other is not one and not same(one, other):
                declare(f"inputs gives other {name} than the suite's")

    def before_update(
        self, recipe: Recipe, optimizer: torch.optim.Optimizer, rate: Tensor, shifts: Mapping[str, float]
    ) -> None:
        """Nothing but `loss.backward()` happened; what the suite's optimizer makes of the gradients is kept.

        Args:
            shifts: of momentum, which the method declared.

        Raises:
            RecipeBroken: more happened, or the optimizer is another.
        """
        self.after("loss")
        self.trained = [p for p in self.student.parameters() if p.requires_grad]
        twins = [nn.Parameter(p.detach().clone()) for p in self.trained]
        again = build_optimizer(recipe, twins, rate.detach().clone(), shifts)
        for parameter, twin in zip(self.trained, twins, strict=True):
            owns, others = stepped(optimizer, parameter), stepped(again, twin)
            for term, name in ((term, name) for term in others for name in STATE[recipe.optimizer]):
                if term not in owns or name not in optimizer.state[owns[term]]:
                    self.guard.refuse("loss", "replaces the suite's optimizer", "it alone trains the student")
                again.state[others[term]][name].copy_(optimizer.state[owns[term]][name])
            for term, other in others.items():
                gradient = owns[term].grad
                other.grad = None if gradient is None else gradient.clone()
        again.step()
        self.expected = [twin.detach() for twin in twins]

    def after_update(self) -> None:
        """The step was the suite's.

        Raises:
            RecipeBroken: it was another.
        """
        for expected, parameter in zip(self.expected, self.trained, strict=True):
            if not torch.allclose(expected, parameter.detach(), equal_nan=True, **ROUNDING):
                self.guard.refuse(
                    "loss", "changes how the student's weights are stepped", "the suite's optimizer alone trains it"
                )


class Unwatched:
    """A step that nobody watches."""

    def look(self) -> None: ...
    def after(self, hook: str) -> None: ...
    def after_inputs(self, seen: Batch, is_data_free: bool) -> None: ...
    def before_update(
        self, recipe: Recipe, optimizer: torch.optim.Optimizer, rate: Tensor, shifts: Mapping[str, float]
    ) -> None: ...
    def after_update(self) -> None: ...


UNWATCHED = Unwatched()


def one_of(count: int) -> int:
    """A step of so many that no method can foresee, drawn from the system so that no seeded draw is shifted."""
    return secrets.randbelow(max(1, count))


def shapes_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes of a network's weights and buffers, by name; of packed weights none."""
    state = network.state_dict()
    return {name: tuple(value.shape) if isinstance(value, Tensor) else () for name, value in state.items()}
