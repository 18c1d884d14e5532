"""`kdbench explain`: soft targets of a test image or a picture, and one line for what cannot be explained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from kdbench.cli.app import app
from kdbench.errors import KdbenchError
from kdbench.records.softening import entropy, soften
from kdbench_leaderboard.learn.taught import taught

NUMBER = 42


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["explain", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_a_test_image_is_explained_at_each_temperature():
    told = json.loads(said(str(NUMBER), "--temperature", "1,4", "--json"))
    logits = taught().teachers[told["teacher"]][NUMBER]
    assert told["label"] == taught().labels[NUMBER]
    for one in told["soft_targets"]:
        soft = soften(np.array(told["logits"]), one["temperature"])
        assert one["probabilities"] == pytest.approx(soft)
        assert soft == pytest.approx(soften(logits, one["temperature"]), abs=2e-3)
        assert one["entropy"] == pytest.approx(float(entropy(soft)))
        assert [c for c, _ in one["top"]] == np.argsort(-soft, kind="stable")[:3].tolist()


def test_the_terminal_shows_the_image_the_table_and_the_entropy():
    text = said(str(NUMBER))
    assert f"test image {NUMBER}, label {taught().labels[NUMBER]}" in text
    assert [f"T = {t}: entropy" in text for t in (1, 4, 20)] == [True] * 3
    assert "█" in text
    assert "hard target" in text


def test_a_picture_of_the_same_pixels_is_told_the_same(tmp_path: Path):
    pixels = taught().images[NUMBER]
    Image.fromarray(pixels).resize((64, 64), Image.Resampling.NEAREST).save(tmp_path / "digit.png")
    Image.fromarray(255 - pixels).convert("RGB").save(tmp_path / "ink.png")
    number = json.loads(said(str(NUMBER), "--json"))["logits"]
    mine = json.loads(said(str(tmp_path / "digit.png"), "--json"))
    assert mine["logits"] == pytest.approx(number, abs=1e-3)
    assert mine["label"] is None
    assert json.loads(said(str(tmp_path / "ink.png"), "--invert", "--json"))["logits"] == pytest.approx(
        number, abs=1e-3
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["99999"], "has test images 0 to"),
        (["no-such.png"], "neither a file nor the number"),
        (["README.md"], "cannot be read as a picture"),
        (["tests"], "cannot be read as a picture"),
        (["1", "--temperature", "0"], "'0' is no temperature"),
        (["1", "--temperature", "1,,4"], "'' is no temperature"),
        (["1", "--temperature", "hot"], "'hot' is no temperature"),
        (["1", "--temperature", "inf"], "is no temperature"),
        (["1", "--model", "no_such_model"], "has no teacher 'no_such_model'"),
        (["1", "--suite", "digit"], "Unknown suite 'digit'"),
        (["1", "--invert"], "--invert is of pictures"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], problem: str):
    with pytest.raises(KdbenchError) as caught:
        CliRunner().invoke(app, ["explain", *arguments], catch_exceptions=False)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
