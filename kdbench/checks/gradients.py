"""What the loss reaches: the student and the method's own weights, never the teacher."""

from __future__ import annotations

from torch import Tensor

from kdbench.checks.bench import Bench, backward, batches, evaluate, fail_if, output_tensors
from kdbench.training.trainer import Trainer

TINY = 0.01  # a gradient below it may be lost in rounding


def gives_finite_gradients(bench: Bench) -> None:
    """Every term is finite and has a gradient, and the student learns from their sum."""
    for trainer in bench.trainers():
        for batch in batches(trainer):
            terms, *_ = evaluate(trainer, batch)
            for name, value in terms.items():
                fail_if(not value.isfinite(), f"term '{name}' is {value}: guard divisions, logarithms and norms.")
                fail_if(
                    not value.requires_grad,
                    f"term '{name}' has no gradient and changes nothing: was its student side detached?",
                )
            backward(trainer, terms)
            for name, parameter in (*trainer.student.named_parameters(), *trainer.method.named_parameters()):
                fail_if(
                    parameter.grad is not None and not parameter.grad.isfinite().all(),
                    f"the gradient of '{name}' is not finite: a square root or norm at 0 has none; add an epsilon.",
                )
        reached = [p.grad for p in trainer.student.parameters() if p.grad is not None and p.grad.any()]
        fail_if(not reached, "no weight of the student gets a gradient: was its output detached?")


def trains_every_parameter(bench: Bench) -> None:
    """Every trainable parameter that the method brings gets a gradient in some stage, and moves."""
    trainer = bench.trainer()
    start = {name: p.detach().clone() for name, p in trainer.method.named_parameters() if p.requires_grad}
    largest = dict.fromkeys(start, 0.0)
    for batch in batches(trainer):
        trainer.step(batch)
        for name, parameter in trainer.method.named_parameters():
            if parameter.grad is not None:
                largest[name] = max(largest[name], parameter.grad.abs().max().item())
    now = dict(trainer.method.named_parameters())
    own = {name for name, p in now.items() if not any(p is other for other in trainer.parameters)}
    for name, value in start.items():
        if name in own:
            fail_if(bool((now[name] == value).all()), f"parameter '{name}' does not move: minimise() a loss of it.")
            continue
        fail_if(
            largest[name] == 0,
            f"parameter '{name}' never gets a gradient: use it in loss, outside torch.no_grad() and before any "
            "detach(), or fix it with requires_grad_(False).",
        )
        fail_if(
            largest[name] > TINY and bool((now[name] == value).all()),
            f"parameter '{name}' gets a gradient and does not move: is it overwritten in loss?",
        )


def leaves_the_teacher_alone(bench: Bench) -> None:
    """No gradient reaches the teacher; its weights, buffers and mode stay as they were."""
    trainer = bench.trainer()
    teacher = bench.teacher
    if teacher is None:
        return
    mine = {id(p) for p in trainer.method.parameters()} & {id(p) for p in teacher.parameters()}
    fail_if(
        bool(mine),
        "the method holds the teacher's own weights, which are saved with it and could be trained: "
        "keep copy.deepcopy(setup.teacher_network) or of a part of it.",
    )
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    for batch in batches(trainer):
        terms, _, outputs = evaluate(trainer, batch)
        fail_if(
            any(tensor.requires_grad for _, tensor in output_tensors(outputs[1])),
            "the loss lets gradients into the teacher's outputs: leave out requires_grad_().",
        )
        backward(trainer, terms)
        fail_if(
            any(p.requires_grad or p.grad is not None for p in teacher.parameters()),
            "a gradient reaches the teacher's weights: run whatever uses them under torch.no_grad(), on a copy.",
        )
        trainer.step(batch)
    fail_if(teacher.training, "the teacher is in training mode, where its batch norm follows the batch: use eval().")
    changed = [name for name, value in teacher.state_dict().items() if not value.equal(before[name])]
    fail_if(bool(changed), f"the teacher's '{(changed or [''])[0]}' changes: work on a copy of it.")


def uses_every_weight(bench: Bench) -> None:
    """Each parameter called ..._weight changes the loss."""
    names = [name for name in bench.cls.Params.model_fields if name.endswith("_weight")]
    plain = {name: value.detach() for name, value in losses(bench.trainer()).items()} if names else {}
    for name in names:
        default = bench.cls.Params.model_fields[name].default
        for value in (0.5 * default + 0.25, 2.0 * default + 0.5):
            if value == default:
                continue
            try:
                changed = losses(bench.trainer(params={name: type(default)(value)}))
            except ValueError:  # out of its range
                continue
            same = changed.keys() == plain.keys() and all(changed[term].equal(plain[term]) for term in plain)
            fail_if(same, f"parameter '{name}' changes nothing in the loss: multiply the term with self.params.{name}.")
            break


def losses(trainer: Trainer) -> dict[str, Tensor]:
    """The terms of all stages on their first two batches, under the stage's name."""
    found: dict[str, Tensor] = {}
    for batch in batches(trainer):
        if batch.step <= 1:
            terms, *_ = evaluate(trainer, batch)
            found |= {f"{trainer.stage.name}.{batch.step}.{name}": value for name, value in terms.items()}
    return found
