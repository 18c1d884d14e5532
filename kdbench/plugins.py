"""Discovery of methods by entry points (group `kdbench.methods`).

Listing imports nothing, and one broken plugin stops no other.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from kdbench.errors import KdbenchError, did_you_mean, first_problem
from kdbench.foreign import importing, is_foreign
from kdbench.layout import RESERVED

if TYPE_CHECKING:
    from kdbench.method import Method
    from kdbench.records.parts import MethodInfo

GROUP = "kdbench.methods"
ALLOWED = {"_abc_impl"}  # of nn.Module's names, in a method's class


@dataclass(frozen=True)
class Plugin:
    """An entry of the group, not yet imported.

    Attributes:
        distribution, version: of the Python package that registers it.
        target: "module:Class".
    """

    name: str
    distribution: str
    version: str
    target: str
    entry_point: EntryPoint

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version}, {self.target})"


def list_plugins(group: str = GROUP) -> dict[str, list[Plugin]]:
    """All entries by name; more than one under a name is a conflict, which whoever loads it reports."""
    return dict(read_plugins(group, tuple((entry, modified(entry)) for entry in sys.path)))


def modified(folder: str) -> int | None:
    """When something was last put into a folder, or removed, in nanoseconds; None where there is none."""
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return None


@functools.lru_cache(maxsize=8)
def read_plugins(group: str, path: tuple[tuple[str, int | None], ...]) -> dict[str, list[Plugin]]:
    """The entries of the packages on the path; their metadata take 10 ms, so once, while the path stays as it is."""
    found: dict[str, list[Plugin]] = {}
    packages: dict[int, tuple[str, str]] = {}  # their metadata is parsed once each, not once an entry
    for entry in entry_points(group=group):
        dist = entry.dist
        if id(dist) not in packages:
            packages[id(dist)] = (dist.name, dist.version) if dist else ("unknown", "unknown")
        plugin = Plugin(entry.name, *packages[id(dist)], entry.value, entry)
        if all(
            plugin.target != other.target or plugin.distribution != other.distribution
            for other in found.get(entry.name, [])
        ):
            found.setdefault(entry.name, []).append(plugin)
    return dict(sorted(found.items()))


def find_plugin(name: str) -> Plugin:
    """The one entry of this name.

    Raises:
        KdbenchError: no method of this name, or two distributions that both register it.
    """
    plugins = list_plugins()
    if name not in plugins:
        close = difflib.get_close_matches(name, plugins, n=1)
        hint = did_you_mean(name, plugins) if close else " 'kdbench list methods' shows what is installed."
        raise KdbenchError(f"Unknown method '{name}'.{hint}")
    if len(plugins[name]) > 1:
        both = " and ".join(map(str, plugins[name]))
        raise KdbenchError(f"Method '{name}' is registered twice: {both}. Uninstall one of the packages.")
    return plugins[name][0]


@functools.cache
def is_foreign_method(name: str) -> bool:
    """Whether a method did not come with kdbench; told from its entry point, without importing it."""
    return any(is_foreign(plugin.entry_point.module) for plugin in list_plugins().get(name, []))


def load_method(name: str) -> type[Method]:
    """Import a method and check its class.

    Raises:
        KdbenchError: unknown name, two distributions with it, an import that fails, or a class that is no method.
    """
    from pydantic import ValidationError

    plugin = find_plugin(name)
    try:
        with importing(plugin.entry_point.module):
            found = plugin.entry_point.load()
    except KdbenchError:
        raise
    except (Exception, SystemExit) as error:  # a plugin may fail in any way; it must not take the others down
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise KdbenchError(f"Method {plugin} cannot be imported: {said}") from error
    if problem := next(problems(found, name), None):
        raise KdbenchError(f"Method {plugin} is not usable: {problem}")
    try:
        method_info(found, plugin)
    except ValidationError as error:
        raise KdbenchError(f"Method {plugin} is not usable: its {first_problem(error)}.") from error
    return found


def problems(found: Any, name: str) -> Iterator[str]:
    """What keeps a loaded object from being a method, each as a sentence of advice."""
    from kdbench.dataset_method import DatasetMethod
    from kdbench.method import Method
    from kdbench.records.rows import FAMILY

    if not (isinstance(found, type) and issubclass(found, Method)):
        yield f"a {type(found).__name__} is no subclass of kdbench.Method. Point the entry point at the class."
        return
    yield from wrong_identity(found, name)
    yield from wrong_requires(found)
    yield from wrong_params(found)
    yield from wrong_texts(found)
    if found.__init__ is not Method.__init__:
        yield "it changes __init__. Make what it needs in build(self, setup)."
    yield from wrong_overrides(found)
    if issubclass(found, DatasetMethod) != (FAMILY in found.families):
        yield f"a method of the family '{FAMILY}' is a kdbench.DatasetMethod, and the other way round. Make it both."
    if issubclass(found, DatasetMethod):
        if found.synthetic is DatasetMethod.synthetic:
            yield "it makes no images. Define `synthetic(self)`."
    elif found.loss is Method.loss:
        yield "it has no loss. Define `loss(self, batch, student, teacher)`."


def wrong_identity(found: type[Method], name: str) -> Iterator[str]:
    """What is wrong with a method's name, version, paper and place in the taxonomy."""
    from kdbench.method import Knowledge, Paper, Scheme

    schemes, kinds = get_args(Scheme), get_args(Knowledge)
    if getattr(found, "name", None) != name:
        yield f"its attribute name is {getattr(found, 'name', None)!r}, its entry point '{name}'. Make them equal."
    if name in RESERVED:
        yield f"the name '{name}' is a folder of kdbench's own. Choose another one."
    if not isinstance(found.version, int) or found.version < 1:
        yield f"its attribute version is {found.version!r}. Make it an integer, 1 or more."
    if getattr(found, "scheme", None) not in schemes:
        yield f"its attribute scheme is {getattr(found, 'scheme', None)!r}. Make it one of {schemes}."
    elif found.scheme != "baseline" and not isinstance(found.paper, Paper):
        yield "its attribute paper is missing. Set it to kdbench.Paper(title, authors, year, arxiv)."
    if not isinstance(found.knowledge, tuple) or set(found.knowledge) - set(kinds):
        yield f"its attribute knowledge is {found.knowledge!r}. Make it a tuple of {kinds}."


def wrong_overrides(found: type[Method]) -> Iterator[str]:
    """What a method defines that is its trainer's to call: all of `nn.Module` and `Method` that is no hook."""
    from torch import nn

    from kdbench.dataset_method import DatasetMethod
    from kdbench.method import Method

    contract = (Method, DatasetMethod)
    own = [base for base in found.__mro__ if issubclass(base, Method) and base not in contract]
    mine = {name for base in own for name in vars(base)}
    fixed = (set(vars(nn.Module)) | {"train", "reads_teacher", "is_data_free", "distils_data"}) - ALLOWED
    if issubclass(found, DatasetMethod):
        fixed |= {"loss", "stages", "main", "before_epoch", "inputs", "deployed", "networks"}
    if changed := sorted(name for name in mine & fixed if not (name.startswith("__") and name.endswith("__"))):
        yield f"it changes {changed[0]}, which is the trainer's. Use a hook, or call it otherwise."


def wrong_requires(found: type[Method]) -> Iterator[str]:
    """What is wrong with the outputs that a method asks for."""
    from kdbench.given import OUTPUTS

    requires = getattr(found, "requires", None)
    if not isinstance(requires, (set, frozenset)) or not requires:
        yield "its attribute requires is missing. Make it a set such as {'student.logits', 'teacher.logits'}."
    elif unknown := sorted(map(str, set(requires) - OUTPUTS)):
        yield f"its attribute requires names '{unknown[0]}'.{did_you_mean(unknown[0], OUTPUTS)}"
    elif "data_free" in tuple(found.families) and (images := sorted({"images", "strong_images"} & set(requires))):
        yield f"it is data-free and requires '{images[0]}'. Take out one of them."


def wrong_params(found: type[Method]) -> Iterator[str]:
    """What is wrong with a method's hyperparameters."""
    from pydantic import ValidationError

    from kdbench.method import Method

    if not (isinstance(found.Params, type) and issubclass(found.Params, Method.Params)):
        yield "its Params is no subclass of Method.Params. Write `class Params(Method.Params):`."
    elif missing := [parameter for parameter, field in found.Params.model_fields.items() if field.is_required()]:
        yield f"its parameter {missing[0]} has no default. Give it the paper's value."
    else:
        try:
            found.Params.model_validate(found.Params().model_dump(mode="json", warnings=False))
        except ValidationError as error:
            yield f"the default of its parameter {first_problem(error)}. Give it a value of its own type and range."


def wrong_texts(found: type[Method]) -> Iterator[str]:
    """What is wrong with what a method says in words."""
    from kdbench.records.privacy import private

    for attribute in ("families", "deviations"):
        said = getattr(found, attribute)
        if not isinstance(said, tuple) or not all(isinstance(text, str) and text.strip() for text in said):
            yield f"its attribute {attribute} is {said!r}. Make it a tuple of texts, none of them empty."
        elif what := next(filter(None, map(private, said)), None):
            yield f"its attribute {attribute} names {what}, and records show it. Take it out."
    if what := private(inspect.getdoc(found) or ""):
        yield f"its docstring names {what}, and records show it. Take it out."
    excused = found.expected_failed_checks
    if not isinstance(excused, dict) or not all(isinstance(r, str) and r.strip() for r in excused.values()):
        yield "its expected_failed_checks gives no reason. Write {'name_of_the_check': 'why it cannot hold'}."


def method_info(cls: type[Method], plugin: Plugin) -> MethodInfo:
    """What a record says of a method.

    Raises:
        pydantic.ValidationError: an attribute of another type or form.
    """
    from kdbench.records.parts import MethodInfo
    from kdbench.source import HARNESS, published_source, source_sha256

    paper = cls.paper
    published = {} if plugin.distribution == HARNESS else published_source(plugin.distribution)
    return MethodInfo(
        name=cls.name,
        version=cls.version,
        title=paper.title if paper else None,
        authors=paper.authors if paper else None,
        year=paper.year if paper else None,
        arxiv=paper.arxiv if paper else None,
        scheme=cls.scheme,
        knowledge=list(cls.knowledge),
        families=list(cls.families),
        requires=sorted(cls.requires),
        deviations=list(cls.deviations),
        docstring=inspect.getdoc(cls) or "",
        distribution=plugin.distribution,
        distribution_version=plugin.version,
        source_sha256=source_sha256(cls),
        excused_checks=dict(cls.expected_failed_checks) or None,
        repository=published.get("repository"),
        commit=published.get("commit"),
    )
