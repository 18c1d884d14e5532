"""`kdbench cite`: BibTeX of methods, of the survey and of kdbench."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version

from kdbench.console import Notice, printable
from kdbench.method import Paper
from kdbench.plugins import load_method

SURVEY = """@article{gou2021survey,
  title = {{Knowledge Distillation: A Survey}},
  author = {Gou, Jianping and Yu, Baosheng and Maybank, Stephen J. and Tao, Dacheng},
  journal = {International Journal of Computer Vision},
  volume = {129},
  pages = {1789--1819},
  year = {2021},
  doi = {10.1007/s11263-021-01453-z}
}
"""
KDBENCH = f"""@software{{kdbench,
  title = {{{{kdbench: the benchmark for knowledge distillation}}}},
  author = {{{{The kdbench contributors}}}},
  version = {{{version("kdbench")}}}
}}
"""
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "{": r"\textbraceleft{}",  # BibTeX counts braces, escaped or not
    "}": r"\textbraceright{}",
    **{character: f"\\{character}" for character in "%&#_$"},
}


def cite(methods: Sequence[str], notice: Notice) -> None:
    """Print an entry for each method's paper, each paper once, then the survey's and kdbench's.

    Raises:
        KdbenchError: an unknown method.
    """
    papers: dict[Paper, str] = {}
    for name in methods:
        paper = load_method(name).paper
        if paper is None:
            notice(f"{name} has no paper.")
        else:
            papers.setdefault(paper, name)
    sys.stdout.write("\n".join([*(bibtex(key, paper) for paper, key in papers.items()), SURVEY, KDBENCH]))


def bibtex(key: str, paper: Paper) -> str:
    """A paper's entry under the name of its method."""
    fields = {
        "title": f"{{{latex(paper.title)}}}",
        "author": " and ".join(latex(author.strip()) for author in paper.authors.split(",")),
        "year": str(paper.year),
    }
    if paper.arxiv:
        fields |= {"eprint": latex(paper.arxiv), "archivePrefix": "arXiv"}
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@misc{{{key},\n{lines}\n}}\n"


def latex(text: str) -> str:
    """A plugin's text as LaTeX shows it, in one line: nothing in it ends the field that it stands in."""
    return "".join(LATEX.get(character, character) for character in " ".join(printable(text).split()))
