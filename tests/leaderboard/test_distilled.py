"""The board of distilled data: a column a student, the images of each method, no verdict against the whole data."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdbench.records.distilled import draw_grid
from kdbench.records.store import write_results
from kdbench_leaderboard.boards import make_boards
from kdbench_leaderboard.build import build
from kdbench_leaderboard.distilled import learners_table, of_board
from kdbench_leaderboard.headline import headline
from kdbench_leaderboard.power import pair_limits
from kdbench_leaderboard.read import read_store
from kdbench_leaderboard.standings import standings
from tests.distilled import METHODS, NAME, Ran


@pytest.fixture(scope="module")
def results(distilled: Ran, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("accepted") / "results"
    for method in METHODS:
        write_results(folder / NAME / method, [e for (m, *_), e in distilled.entries.items() if m == method])
    return folder


def test_a_board_has_a_column_a_student_and_the_images_of_each_row(results: Path, distilled: Ran) -> None:
    [board] = make_boards(read_store(results, None))
    rows = standings(board, [])
    assert board.images_per_class == 2
    table = learners_table(board, rows)
    assert [column.title for column in table.columns] == ["Method", "convnet, %", "vit_w32, %", "Made in, s"]
    assert len(table.lines) == len(METHODS)
    about, files = of_board(board, rows)
    assert {picture.row for picture in about["pictures"]} == {"dm", "random_images"}
    assert about["pictures"][0].count == (20, 20)
    for picture, (path, content) in zip(about["pictures"], files, strict=True):
        assert picture.path == path
        with Image.open(io.BytesIO(content)) as drawn:
            entry = distilled.entries[picture.row, "convnet", 0]
            assert np.array_equal(np.asarray(drawn), np.asarray(draw_grid(entry.images)))


def test_methods_are_held_against_random_images_and_never_against_all_data(results: Path) -> None:
    [board] = make_boards(read_store(results, None))
    rows = standings(board, [])
    said = " ".join(answer.text for answer in headline(board, rows))
    assert "as many random real images" in said
    assert "plain student" not in said
    assert pair_limits(board, rows) == {}


def test_the_site_shows_them(results: Path, tmp_path: Path) -> None:
    build(tmp_path / "site", results, None)
    page = (tmp_path / "site" / "suite" / NAME / "index.html").read_text()
    assert 'id="learners"' in page
    assert "to 2 images a class" in page
    assert "Against random images" in page
    assert "Against KD" not in page
    assert "choose.html#" not in page
    assert "times fewer parameters" not in page
    assert page.count("<img ") == 2
    [picture] = (tmp_path / "site" / "distilled" / NAME).glob("dm-*.png")
    assert f"distilled/{NAME}/{picture.name}" in page
    method = (tmp_path / "site" / "method" / "dm.html").read_text()
    assert "kdbench compare dm random_images vanilla" in method
    assert 'id="picture"' not in method
