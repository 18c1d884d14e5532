"""A board of a suite with tasks: ranked by the average over tasks, with what was forgotten, and no teacher."""

from __future__ import annotations

import shutil

import pytest

from kdbench.records.rows import PLAIN
from kdbench_leaderboard.boards import Board
from kdbench_leaderboard.figures import board_figures
from kdbench_leaderboard.lifelong import notes
from kdbench_leaderboard.page import Site, make_site
from kdbench_leaderboard.pages import suite_pages
from kdbench_leaderboard.read import read_store
from kdbench_leaderboard.seed_views import method_table, pair_table
from kdbench_leaderboard.standings import Standing
from kdbench_leaderboard.views import suite_table


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("tasks") / "results"
    shutil.copytree("results/digits-tasks", folder / "digits-tasks")
    store = read_store(folder, None)
    assert store.problems == []
    return make_site(store)


@pytest.fixture(scope="module")
def board(site: Site) -> tuple[Board, list[Standing]]:
    [found] = site.boards
    return found


def test_rows_are_ranked_by_their_average_over_tasks(board: tuple[Board, list[Standing]]) -> None:
    _, rows = board
    averages = [s.metrics["average"][0] for s in rows]
    assert averages == sorted(averages, reverse=True)
    assert [s.place for s in rows] == list(range(1, len(rows) + 1))
    assert all(s.accuracy == s.metrics["average"] for s in rows)
    assert [s.row.name for s in rows if s.reference == PLAIN] == [PLAIN]


def test_a_page_says_what_was_kept_and_nothing_of_kd(site: Site, board: tuple[Board, list[Standing]]) -> None:
    pages = dict(suite_pages(site, *board))
    page = str(pages["suite/digits-tasks/index.html"])
    for text in ("Average accuracy, %", "Final top-1, %", "Forgetting, %", "is fine-tuning"):
        assert text in page
    assert "Against KD" not in page


def test_every_table_of_the_board_leaves_plain_kd_out(board: tuple[Board, list[Standing]]) -> None:
    tables = [suite_table(*board), pair_table(*board, board[0].pairs[0]), method_table(*board)]
    for table in tables:
        keys = [column.key for column in table.columns]
        assert not [key for key in keys if key.startswith(("kd", "k "))]
        assert "accuracy" in keys
    assert "others" not in keys
    after = [line.cells["tasks"].text for line in tables[-1].lines]
    assert all(text.count(",") == 4 for text in after)


def test_a_line_a_row_shows_the_accuracy_on_all_classes_so_far(board: tuple[Board, list[Standing]]) -> None:
    figure = board_figures(*board)["tasks"]
    assert [trace["name"] for trace in figure["data"]] == [s.row.title for s in board[1]]
    for trace, s in zip(figure["data"], board[1], strict=True):
        assert trace["x"] == [2, 4, 6, 8, 10]
        assert sum(trace["y"]) / 5 == pytest.approx(s.metrics["average"][0], abs=0.01)
    assert notes(board[0])[0].startswith("Rows are ranked by average incremental accuracy")
