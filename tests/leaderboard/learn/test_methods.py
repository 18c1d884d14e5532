"""A method's page: an equation, a picture of what its loss reads, and lines that are those of its file."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kdbench_leaderboard.learn.code import class_named, loss_code
from kdbench_leaderboard.learn.pictures import Example, kd_picture, method_picture
from kdbench_leaderboard.mathml import described

METHODS = Path(__file__).parents[3] / "methods"
NAMES = sorted(path.stem for path in METHODS.glob("*.py") if not path.stem.startswith("_"))


def info(name: str, **changes: Any) -> Any:
    return SimpleNamespace(**{"name": name, "version": None, "distribution": "kdbench", **changes})


def newest(name: str) -> Any:
    source = class_named(METHODS / f"{name}.py", name)
    assert source is not None
    return info(name, version=source.version)


@pytest.mark.parametrize("name", NAMES)
def test_the_lines_are_those_of_the_file(name: str):
    code = loss_code(newest(name))
    assert code is not None
    lines = (METHODS.parent / code.path).read_text(encoding="utf-8").split("\n")
    first, last = code.lines
    assert [line.strip() for line in code.text.split("\n")][-1] == lines[last - 1].strip()
    assert code.text.split("\n")[0].lstrip().startswith(("def loss(", "def improve(", "def build(", "@"))
    assert "\n".join(line.strip() for line in lines[first - 1 : last]) in "\n".join(
        line.strip() for line in code.text.split("\n")
    )
    for text in (code.text, *code.helpers):
        ast.parse(text)


def test_inherited_losses_and_what_they_call_are_found():
    assert loss_code(newest("kd")).helpers[0].startswith("def kd_loss(")  # type: ignore[union-attr]
    assert loss_code(newest("ban")).path == "methods/parts/generations.py"  # type: ignore[union-attr]


def test_other_packages_and_other_versions_show_no_code():
    assert loss_code(info("kd", distribution="elsewhere", version=1)) is None
    assert loss_code(info("kd", version=99)) is None
    assert loss_code(info("no_such_method")) is None


@pytest.mark.parametrize("name", NAMES)
def test_each_docstring_has_an_equation_in_mathml(name: str):
    source = class_named(METHODS / f"{name}.py", name)
    assert source is not None
    text = ast.get_docstring(source.cls) or ""
    assert "<math" in described(text) or re.search(r"The loss is that of `\w+`", text)


@pytest.mark.parametrize(
    ("example", "marked", "said"),
    [
        (Example("kd", "offline", ("student.logits", "teacher.logits")), 2, ["reads logits", "the labels are used"]),
        (Example("x", "offline", ("student.features", "teacher.features", "teacher.network")), 2, ["whole teacher"]),
        (Example("x", "online", ("student.logits",)), 2, ["peers"]),
        (Example("x", "self", ("student.logits", "student.features")), 4, ["the student's own"]),
        (Example("x", "baseline", ("student.logits",)), 1, ["through the student;"]),
        (
            Example("x", "offline", ("student.logits", "teacher.logits"), ("data_free",)),
            2,
            ["no labels", "images made"],
        ),
        (Example("x", "offline", ("student.logits", "teacher.logits", "team")), 2, ["several teachers"]),
        (Example("x", "offline", ("student.logits", "teacher.logits", "assistants")), 2, ["assistants"]),
    ],
)
def test_the_picture_marks_what_is_read_and_says_it(example: Example, marked: int, said: list[str]):
    picture = method_picture(example, {})
    assert picture.count('class="box used"') == marked
    label = re.search('aria-label="([^"]+)"', picture)[1]  # type: ignore[index]
    assert all(words.replace("'", "&#39;") in label.lower() for words in said), label


def test_a_loss_without_labels_draws_none():
    example = Example("x", "offline", ("student.logits", "teacher.logits"))
    assert ">labels<" in method_picture(example, {"ce_weight": 0.1})
    assert ">labels<" not in method_picture(example, {"ce_weight": 0.0})


def test_the_picture_of_kd_is_told_in_chinese():
    picture = kd_picture("zh-CN")
    assert 'aria-label="kd：训练图像' in picture
    assert not re.search(r">(loss|labels|training images|feature maps|embedding)<", picture)


def test_names_from_records_stay_text():
    picture = method_picture(Example('"><script>', "offline", ("student.logits",)), {})
    assert "<script" not in picture


def test_pages_of_methods_have_the_picture_and_the_code(accepted: Path, site: Path):
    page = (accepted / "method" / "kd.html").read_text(encoding="utf-8")
    assert 'id="picture"' in page
    assert "def kd_loss(" in page
    assert 'id="code"' not in (site / "method" / "good.html").read_text(encoding="utf-8")  # no file of kdbench's
