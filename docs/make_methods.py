"""Write docs/methods.md, the table of the methods that kdbench brings: python docs/make_methods.py"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

from kdbench import Method, Paper
from kdbench.plugins import list_plugins, load_method

PAGE = Path(__file__).parent / "methods.md"
COMMAND = "python docs/make_methods.py"
TITLES = {
    "baseline": "Baselines and controls",
    "response": "Response",
    "feature": "Feature",
    "relation": "Relation",
    "multi_teacher": "Several teachers",
    "capacity_gap": "Capacity gap",
    "adversarial": "Adversarial",
    "quantized": "Quantized",
    "online": "Online",
    "self": "Self",
    "data_free": "Data-free",
    "dataset_distillation": "Dataset distillation",
    "lifelong": "Lifelong",
}
HEAD = f"""# Methods

`kdbench show NAME` prints a method's equation, its source and its parameters; each is a file in
[`methods/`](../methods). A method stands under its first family of the survey, else under its scheme if that is not
offline, else under its first kind of knowledge. This page is made from the classes by `{COMMAND}`.

Of the survey's other families, graph-based and attention-based methods are those whose knowledge a graph of the images
(`cc`, `irg`, `rkd`, `sp`) or a map of attention (`at`, `nst`) carries; the board filters by both. Distillation across
modalities is a property of a pair, for every method: [`modality`](writing-a-suite.md) and the suite `cifar100-modal`.
NAS-based distillation is out of scope: it searches for the student's architecture, and here all methods train the same.
A network that a search has found is a model like any other.
"""


def page() -> str:
    """The whole page, as Markdown."""
    methods = [load_method(name) for name, found in list_plugins().items() if found[0].distribution == "kdbench"]
    return "\n".join([HEAD, *(line for title in TITLES for line in section(title, methods))])


def section(name: str, methods: list[type[Method]]) -> Iterator[str]:
    """The methods of one section, the oldest first."""
    yield f"## {TITLES[name]}\n"
    yield "| name | taxonomy | what it does | paper |\n|---|---|---|---|"
    chosen = [method for method in methods if section_of(method) == name]
    for method in sorted(chosen, key=lambda method: (method.paper.year if method.paper else 0, method.name)):
        taxonomy = ", ".join([method.scheme, *method.knowledge, *method.families]).replace("_", "-")
        first = (inspect.getdoc(method) or "").partition("\n")[0].replace("|", "\\|")
        source = f"../methods/{method.__module__.rpartition('.')[2]}.py"
        yield f"| [`{method.name}`]({source}) | {taxonomy} | {first} | {cited(method.paper)} |"
    yield ""


def section_of(method: type[Method]) -> str:
    """Where a method stands: a key of `TITLES`."""
    if method.families:
        return method.families[0]
    return method.knowledge[0] if method.scheme == "offline" else method.scheme


def cited(paper: Paper | None) -> str:
    """Who, when, and the title with its link: 'Ba and Caruana 2014, Do Deep Nets ...'."""
    if paper is None:
        return ""
    names = [author.split()[-1] for author in paper.authors.split(", ")]
    who = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
    title = f"[{paper.title}](https://arxiv.org/abs/{paper.arxiv})" if paper.arxiv else paper.title
    return f"{who} {paper.year}, {title}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
