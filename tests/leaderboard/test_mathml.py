"""Docstrings become prose and MathML, whatever they hold."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from kdbench.records.reader import read_results
from kdbench_leaderboard.mathml import described, is_equation


def test_an_equation_has_indices_and_powers():
    found = described("L = ce_weight * CE(z_s, y) + T^2 * KL(softmax(z_t / T) || softmax(z_s / T))")
    assert "<msub><mi>z</mi><mi>s</mi></msub>" in found
    assert "<msup><mi>T</mi><mn>2</mn></msup>" in found
    assert "<mtext>ce_weight</mtext>" in found
    assert "‖" in found


def test_what_carries_an_equation_on_belongs_to_it():
    found = described("G:  L = a_1 * CE(z, y) - b\n        - c * mean |e_t|\nThe rest is prose.")
    assert found.count("<math") == 1
    assert '<span class="lead-in">G:</span>' in found
    assert "<p>The rest is prose.</p>" in found


@pytest.mark.parametrize(
    ("line", "equal"),
    [
        ("L = CE(z_s, y)", True),
        ("m <- normalize(momentum * m + (1 - momentum) * e).", True),
        ("Q(f) = vec(mean_c f^2) / ||vec(mean_c f^2)||", True),
        ("The student's attention maps match the teacher's (eq. 2, with p = 2).", False),
        ("Mean over batch and positions, as in the authors' code.", False),
        ("", False),
    ],
)
def test_prose_is_told_from_equations(line: str, equal: bool):
    assert is_equation(line) is equal


@pytest.mark.parametrize(
    "text", ["<script>", "L = <b>x</b> & y", "L = ((((", "L = x_", "L = x^{", "`<i>`", "L = " + "(" * 400]
)
def test_nothing_of_a_docstring_is_markup_and_all_of_it_is_well_formed(text: str):
    found = described(text)
    ElementTree.fromstring(f"<div>{found}</div>")
    assert not re.search(r"<(script|b|i)\b", found)


def test_the_docstrings_of_the_accepted_methods_are_well_formed_and_most_have_an_equation():
    docstrings = [
        read_results(folder)[-1].record.method.docstring
        for folder in sorted(Path("results/cifar100-quarter").iterdir())
        if folder.name != "teachers"
    ]
    found = [described(text) for text in docstrings]
    for text in found:
        ElementTree.fromstring(f"<div>{text}</div>")
    assert sum("<math" in text for text in found) == len(found)
