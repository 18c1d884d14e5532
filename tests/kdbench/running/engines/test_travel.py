"""What travels to other computers, and what is refused there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kdbench.running.engines.events import Failed, Finished, Noticed, Progressed, Stopped
from kdbench.running.engines.post import Fatal, Reader, Writer
from kdbench.running.engines.travel import Luggage, arrived, difference, pack, unlike
from kdbench.running.plan import Cell, plan_cells
from kdbench.running.teachers import find_teacher
from kdbench.suite import Suite


@pytest.fixture
def cells(digits: Suite) -> list[Cell]:
    teacher = find_teacher(digits, "resnet8", None, print)
    assert teacher is not None
    return plan_cells(digits, {"kd": {}, "vanilla": {}}, digits.pairs[:1], [0], {"resnet8": teacher})


@pytest.fixture
def luggage(cells: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Luggage:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDBENCH_DATA", "copies")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("SECRET", "stays here")
    return pack(cells, Path("runs"), "cpu", "eager", stored=True)


def test_folders_and_flags_travel_and_nothing_else(luggage: Luggage, tmp_path: Path) -> None:
    assert luggage.root == tmp_path / "runs"
    assert luggage.environment["KDBENCH_DATA"] == str(tmp_path / "copies")
    assert luggage.environment["HF_HUB_OFFLINE"] == "1"
    assert "SECRET" not in luggage.environment


def test_teachers_are_found_by_their_content_where_the_parents_path_is_nowhere(
    cells: list[Cell], luggage: Luggage, digits: Suite
) -> None:
    [kd] = [cell for cell in cells if cell.method == "kd"]
    assert kd.teacher is not None
    elsewhere = replace(kd, teacher=replace(kd.teacher, path=Path("/nowhere/weights")))
    there = arrived(elsewhere, luggage.root)
    assert there.key == kd.key
    assert there.teacher is not None
    assert there.teacher.load(digits) is not None
    there.teacher.path.write_bytes(b"other")
    pack(cells, luggage.root, "cpu", "eager", stored=True)  # what is cut off is shipped again
    assert there.teacher.load(digits) is not None


def test_other_versions_and_methods_are_a_line(luggage: Luggage) -> None:
    assert difference(luggage, "node7") == ""
    older = replace(luggage, software={"kdbench": "0.0.1"}, source="0" * 64)
    assert difference(older, "node7").startswith("node7 has another kdbench (")
    assert "than the parent (0.0.1)" in difference(older, "node7")
    unknown = replace(luggage, methods={"mine": ("my-package", "3.0", "0" * 64)})
    assert difference(unknown, "node7") == "node7 lacks the method 'mine': install my-package 3.0 there."
    changed = replace(luggage, methods={"kd": (*luggage.methods["kd"][:2], "0" * 64)})
    assert "node7 has another 'kd'" in difference(changed, "node7")
    nowhere = replace(luggage, root=Path("/nowhere"))
    assert "node7 does not see the folder /nowhere" in difference(nowhere, "node7")
    assert unlike(luggage, "node7") == ""
    assert "torch" in unlike(replace(luggage, software={**luggage.software, "torch": "1.0"}), "node7")


def test_a_plugin_of_ones_own_is_known_by_its_source(
    install_plugin: Callable[..., Path], digits: Suite, tmp_path: Path
) -> None:
    source = (
        "from kdbench import Method\nclass Mine(Method):\n    name = 'mine'\n    scheme = 'baseline'\n"
        "    requires = frozenset({'student.logits'})\n"
        "    def loss(self, batch, student, teacher):\n        return {}\n"
    )
    install_plugin("my-package", {"mine": "my_module:Mine"}, my_module=source)
    cells = plan_cells(digits, {"mine": {}}, digits.pairs[:1], [0], {})
    luggage = pack(cells, tmp_path, "cpu", "eager", stored=False)
    assert luggage.methods["mine"][:2] == ("my-package", "1.2")
    assert difference(luggage, "node7") == ""


def test_events_come_through_a_folder_as_they_were_said(cells: list[Cell], tmp_path: Path) -> None:
    one, other = cells
    letters = [
        Progressed(one, 0, 4, None, "node7"),
        Progressed(one, 1, 4, 0.5, "node7"),
        Finished(one, tmp_path / "x", here=True),
        Failed(other, "it failed", "Traceback"),
        Stopped(other),
        Noticed("a line"),
        Fatal("the disk is full"),
    ]
    write, reader = Writer(tmp_path, "0"), Reader(tmp_path, {one.key: one, other.key: other})
    for letter in letters[:3]:
        write(letter)
    assert list(reader.new()) == letters[:3]
    with write.path.open("a") as file:
        file.write('{"event": "Progressed", "ke')  # cut off by a crash
    for letter in letters[3:]:
        Writer(tmp_path, "1" if isinstance(letter, Fatal) else "0")(letter)
    assert list(reader.new()) == letters[3:]
    assert list(reader.new()) == []
    assert list(Reader(tmp_path, {one.key: one}).new()) == [*letters[:3], *letters[5:]]
