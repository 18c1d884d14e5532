"""A plan in parts, whose records come together again."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.cli.app import main

PLAN = ["run", "-m", "kd", "--pair", "resnet8:resnet8_w8", "--seeds", "2", "--epochs", "2", "--no-mlflow"]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs kdbench in this process; returns its exit code and what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["kdbench", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr()
        assert isinstance(stopped.value.code, int)
        return stopped.value.code, said.out + said.err

    return run


def test_parts_make_the_whole(command, tmp_path: Path) -> None:
    for part in ("1/2", "2/2"):
        code, said = command(*PLAN, "--workers", "1", "--shard", part, "--out", f"machine{part[0]}")
        assert code == 0, said
        assert f"Part {part} of a plan of 4 cells: 2 cells" in said
        assert "[2/2]" in said
        assert "kdbench collect" in said
    code, said = command("collect", "machine1", "machine2")
    assert code == 0, said
    assert said.count("2 records taken, 0 there already") == 2
    code, said = command(*PLAN)
    assert code == 0, said
    assert "4 recorded in runs/digits, 0 to train" in said


def test_a_part_trains_no_teacher_of_its_own(
    command, small_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))  # in which no other test has left a teacher
    code, said = command("run", "-m", "kd", "--suite", str(small_suite), "--shard", "1/2", "--no-mlflow")
    assert code == 2
    assert "each part would train its own" in said
    code, said = command("run", "-m", "kd", "--suite", str(small_suite), "--shard", "1/2", "--dry-run")
    assert code == 0, said
    assert "Part 1/2 of a plan of 4 cells: 2 cells" in said
