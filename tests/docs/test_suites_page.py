"""What the page on suites says of the boards is what they say of kdbench's own methods."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from kdbench.records.built_in import built_in
from kdbench_leaderboard.boards import Board, make_boards
from kdbench_leaderboard.headline import headline
from kdbench_leaderboard.published_order import agreements
from kdbench_leaderboard.read import read_store
from kdbench_leaderboard.standings import Standing, standings

PAGE = " ".join(Path("docs/suites.md").read_text(encoding="utf-8").split())


@pytest.fixture(scope="module")
def boards() -> dict[str, tuple[Board, list[Standing]]]:
    own = [
        replace(board, rows=[row for row in board.rows if row.info.name in built_in()])
        for board in make_boards(read_store(Path("results"), None))
    ]
    return {board.suite: (board, standings(board, [])) for board in own}


@pytest.mark.parametrize("suite", ["digits", "cifar100-quarter"])
def test_as_many_methods_are_better_than_the_references_as_the_page_says(
    suite: str, boards: dict[str, tuple[Board, list[Standing]]]
) -> None:
    plain, kd, *_ = (answer.text for answer in headline(*boards[suite]))
    for better, count in (re.findall(r"(\d+) of (\d+) methods", text)[0] for text in (plain, kd)):
        assert (f"{better} of {count}" if int(better) > 1 else f"of {count}, `sskd` is better") in PAGE
    if suite == "digits":
        against_kd = {one.row.info.name: one.against.get("kd") for one in boards[suite][1]}
        assert [name for name, found in against_kd.items() if found and found.verdict == "better"] == ["sskd"]
        worse = [int(re.findall(r"(\d+) are measurably worse", text)[0]) for text in (plain, kd)]
        assert f"and {worse[0]} are worse" in PAGE
        assert f"is better, {worse[1]} are worse" in PAGE


def test_the_page_gives_the_strongest_the_weakest_and_all_negative_agreements_with_published_orders(
    boards: dict[str, tuple[Board, list[Standing]]],
) -> None:
    found = {one.source.name: one for one in agreements(*boards["cifar100-quarter"])}
    assert len(found) == 10
    assert sum(one.correlation > 0 for one in found.values()) == 9
    assert all(one.p > 0.05 for one in found.values())
    for name in ("repdistiller_readme", "logitstd_readme", "crd_repro_5seeds", "aberhu_zoo_readme", "selfkdlib_readme"):
        assert f"{found[name].correlation:+.2f} over {len(found[name].order)}" in PAGE
