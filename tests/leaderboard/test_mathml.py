"""Docstrings become prose and MathML, whatever they hold."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from kdbench.records.reader import read_results
from kdbench_leaderboard.mathml import described, equation, is_equation


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


def test_words_in_an_equation_are_text_with_their_spaces():
    found = equation("Z = N * (mean of exp(e . m / tau) over the first batch), constant from then on")
    assert "<mtext>\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}</mtext><mi>exp</mi>" in found
    assert "<mtext>\N{NO-BREAK SPACE}over the first batch</mtext>" in found
    assert "<mtext>constant from then on</mtext>" in found


@pytest.mark.parametrize(
    ("line", "formula", "prose"),
    [
        ("m <- (1 - a) * m + a * e. Both are drawn", "m←(1−a)⋅m+a⋅e", "Both are drawn anew."),
        ("w = 1 / K;    v_k: the same", "w=1/K", "v_k: the same anew."),
        ("a = D([z; y]);", "a=D([z;y])", "anew."),
        ("A = 2 * p; B = 3 * p.", "A=2⋅p;B=3⋅p", "anew."),
    ],
)
def test_an_equation_ends_where_a_sentence_begins(line: str, formula: str, prose: str):
    found = ElementTree.fromstring(f"<div>{described(line + chr(10) + 'anew.')}</div>")
    assert ["".join(part.itertext()) for part in found] == [formula, prose]


def test_a_word_between_asterisks_is_emphasis_and_a_product_is_not():
    found = described("The bank of the *other* network is a * b * c, and <b>.")
    assert found == "<p>The bank of the <em>other</em> network is a * b * c, and &lt;b&gt;.</p>"


def test_no_page_of_a_method_runs_words_together_in_its_equations(accepted: Path):
    sources = "".join(path.read_text(encoding="utf-8") for path in Path("methods").rglob("*.py"))
    known = set(re.findall(r"\w+", sources))
    pages = sorted((accepted / "method").glob("*.html"))
    equations = [
        (page.stem, re.sub("<[^>]+>", "", re.sub("</msu[bp]+>", " ", found)))
        for page in pages
        for found in re.findall("<math .*?</math>", page.read_text(encoding="utf-8"))
    ]
    assert len(equations) > 100
    long = {(name, run) for name, text in equations for run in re.findall(r"[A-Za-z_]{14,}", text)}
    assert {one for one in long if one[1] not in known} == set()


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
