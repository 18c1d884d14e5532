"""What a method says of itself: its paper, its documentation, its parameters."""

from __future__ import annotations

import inspect
import re
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from kdbench.checks.bench import Bench, fail_if
from kdbench.method import Method
from kdbench.plugins import problems
from kdbench.records.parts import ROLE

GREEK = {"alpha", "beta", "gamma", "lambda", "lambd", "lamda", "lmbda"}


def says_what_it_is(bench: Bench) -> None:
    """The class attributes are complete and of the right types; docstring and paper are there."""
    cls = bench.cls
    if problem := next(problems(cls, getattr(cls, "name", "")), None):
        fail_if(True, problem)
    written = cls.__dict__.get("__doc__")
    fail_if(not written, "the class has no docstring: say in one line what the student learns, then give the equation.")
    fail_if(
        not (inspect.getdoc(cls) or "").splitlines()[0].strip(), "the docstring's first line is empty: begin with it."
    )
    fail_if(
        not re.fullmatch(r"[a-z][a-z0-9_]*", cls.name),
        f"the name '{cls.name}' is not in lower case with underscores; the command line and folders use it.",
    )
    if paper := cls.paper:
        for what, said in (("title", paper.title), ("authors", paper.authors)):
            fail_if(not any(map(str.isalnum, said)), f"the paper has no {what}: {said!r}.")
        this_year = datetime.now(UTC).year
        fail_if(
            not 1980 <= paper.year <= this_year + 1,
            f"the paper's year is {paper.year}: between 1980 and {this_year + 1}?",
        )
        fail_if(
            paper.arxiv is not None and not re.fullmatch(r"\d{4}\.\d{4,5}|[a-z-]+/\d{7}", paper.arxiv),
            f"the paper's arxiv is '{paper.arxiv}': give the number alone, such as '1503.02531'.",
        )
    fail_if(
        cls.scheme != "baseline" and not cls.knowledge and not cls.distils_data(),
        'its attribute knowledge is empty: name what is distilled, such as ("response",).',
    )


def describes_its_params(bench: Bench) -> None:
    """Each parameter has a description, and a loss weight is named for what it weighs."""
    for name, field in bench.cls.Params.model_fields.items():
        fail_if(not field.description, f"parameter '{name}' has no description: Field(..., description=...).")
        fail_if(name in GREEK, f"parameter '{name}' has a Greek name: call it for what it weighs, such as kd_weight.")


def evaluates_its_networks(bench: Bench) -> None:
    """What `networks` and `synthetic` give can be evaluated and kept."""
    trainer = bench.trainer()
    for role, network in trainer.method.networks(trainer.student, trainer.readers["student"]).items():
        fail_if(
            role in ("student", "teacher") or not re.fullmatch(ROLE, role),
            f"networks calls one '{role}': use another name than student or teacher, in lower case, such as 'peer 1'.",
        )
        logits = trainer.predict(network)
        fail_if(
            tuple(logits.shape) != tuple(trainer.predict().shape),
            f"networks gives for '{role}' outputs of shape {tuple(logits.shape)}: give a module from images to logits.",
        )
    images = trainer.method.synthetic()
    fail_if(
        images is not None and images.shape[1:] != next(iter(trainer.images.test())).shape[1:],
        "synthetic gives something else than (N, C, H, W) images of the suite's size.",
    )


def rejects_bad_params(bench: Bench) -> None:
    """Unknown names, wrong types, not-a-number and negative weights are errors."""
    params = bench.cls.Params
    fail_if(
        accepts(params, no_such_parameter=1),
        'Params accepts unknown names: do not replace model_config, or keep extra="forbid".',
    )
    for name, field in params.model_fields.items():
        wrong: Any = object()
        fail_if(accepts(params, **{name: wrong}), f"parameter '{name}' accepts any object: give it a type.")
        if field.annotation is float:
            said = f"parameter '{name}' accepts"
            fail_if(accepts(params, **{name: "1"}), f"{said} a string: keep Params strict.")
            fail_if(accepts(params, **{name: float("nan")}), f"{said} nan: keep allow_inf_nan=False.")
        if name.endswith("_weight"):
            fail_if(accepts(params, **{name: -1.0}), f"parameter '{name}' may be negative: Field(..., ge=0).")
        if name.endswith("temperature"):
            fail_if(accepts(params, **{name: 0.0}), f"parameter '{name}' may be 0: Field(..., gt=0).")


def accepts(params: type[Method.Params], **values: Any) -> bool:
    try:
        params.model_validate(values)
    except ValidationError:
        return False
    return True
