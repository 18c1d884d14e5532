"""A campaign on a tiny suite: stopped by its limit, carried to another machine, gone on with there."""

from __future__ import annotations

import io
import shutil
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import campaign
from benchmarks.archive import unpack
from benchmarks.campaign import load_campaign, main
from kdbench.errors import KdbenchError
from kdbench.records.store import Entry, read_runs, write_results
from kdbench.training.limit import TimeLimit, time_limit

CAMPAIGNS = Path(__file__).parents[2] / "benchmarks" / "campaigns"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int | str | None:
    """The exit code of the script."""
    monkeypatch.setattr(sys, "argv", ["campaign.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code


def records(runs: Path) -> list[tuple[str, int, str]]:
    found = [entry.record for entry in read_runs(runs) if isinstance(entry, Entry)]
    return [(record.method.name, record.seed, record.finished) for record in found]


@pytest.fixture
def tiny(small_suite: Path, tmp_path: Path) -> Path:
    """Two parts: KD, and the plain student with one seed more."""
    text = small_suite.read_text()
    small_suite.write_text(text.replace("epochs = 4", "epochs = 20"))
    parts = [(["kd"], 1), (["vanilla"], 2)]
    lines = [f"[[parts]]\nsuite = '{small_suite}'\nmethods = {methods}\nseeds = '{n}'\n" for methods, n in parts]
    path = tmp_path / "tiny.toml"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.slow
def test_a_campaign_stopped_by_its_limit_goes_on_elsewhere_with_its_archive(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"

    def end_after_the_first_record(limit: TimeLimit) -> None:
        while len(list(here.rglob("*.partial"))) < 1 or not list(here.rglob("record.json")):
            time.sleep(0.01)
        limit.end_now()

    @contextmanager
    def limited(text: str | None) -> Iterator[TimeLimit]:
        limit = TimeLimit()
        threading.Thread(target=end_after_the_first_record, args=(limit,), daemon=True).start()
        yield limit

    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache-here"))
    monkeypatch.setattr(campaign, "time_limit", limited)
    options = ("--device", "cpu", "--workers", "1")
    assert run(monkeypatch, tiny, *options, "--out", here, "--archive", tmp_path / "new.tar.gz") == 3
    said = capsys.readouterr().out
    assert "1. small resnet8:resnet8_w2: kd: 1 cells, 0 done, 0 in training, 1 to train; teachers first" in said
    assert "2. small resnet8:resnet8_w2: vanilla: 2 cells, 0 done, 0 in training, 2 to train\n" in said
    assert "Next: teacher resnet8; kd resnet8:resnet8_w2 seed 0; vanilla resnet8_w2 seed 0; ..." in said
    assert "Not finished: 1 of 3 cells are done, " in said
    assert " Go on: PYTHONPATH=. python campaign.py" in said
    monkeypatch.setattr(campaign, "time_limit", time_limit)

    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache-there"))
    assert run(monkeypatch, tiny, *options, "--out", there, "--unpack", tmp_path / "new.tar.gz", "--plan") == 0
    said = capsys.readouterr().out
    assert "kd: 1 cells, 1 done, " in said
    assert "teachers first" not in said  # the teacher came along
    assert "Next: vanilla resnet8_w2 seed 0; vanilla resnet8_w2 seed 1\n" in said
    assert run(monkeypatch, tiny, *options, "--out", there, "--archive", tmp_path / "rest.tar.gz") == 0
    assert "All 3 cells of the campaign are done" in capsys.readouterr().out
    [first] = records(here)
    assert {(method, seed) for method, seed, _ in records(there)} == {("vanilla", 0), ("vanilla", 1), ("kd", 0)}
    assert first in records(there)  # not trained again
    assert unpack(tmp_path / "rest.tar.gz", here) > 0
    assert sorted(records(here)) == sorted(records(there))
    assert unpack(tmp_path / "new.tar.gz", here) == 0  # a checkpoint of a cell with a record is of no use


def test_cells_with_an_accepted_record_are_done_unless_they_are_to_be_trained_again(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--device", "cpu", "--workers", "1", "--out", tmp_path / "runs")
    tiny.write_text(tiny.read_text().split("[[parts]]")[2].replace("suite", "[[parts]]\nsuite", 1))  # the plain student
    assert run(monkeypatch, tiny, *options) == 0
    first = [e for e in read_runs(tmp_path / "runs") if isinstance(e, Entry) and e.record.seed == 0]
    write_results(tmp_path / "results" / "small" / "vanilla", first)
    shutil.rmtree(tmp_path / "runs")
    monkeypatch.setattr(campaign, "find_results", lambda given: tmp_path / "results")
    capsys.readouterr()
    assert run(monkeypatch, tiny, *options, "--plan") == 0
    assert "vanilla: 2 cells, 1 done" in capsys.readouterr().out
    assert run(monkeypatch, tiny, *options, "--plan", "--again") == 0
    assert "vanilla: 2 cells, 0 done" in capsys.readouterr().out
    assert run(monkeypatch, tiny, *options) == 0
    assert [seed for _, seed, _ in records(tmp_path / "runs")] == [1]


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "runs/../../evil/x", "../x", "other/a/b/c", "cache/small/weights/x", "runs/a/b/LINK"]
)
def test_an_archive_with_anything_but_records_and_teachers_is_refused_whole(name: str, tmp_path: Path) -> None:
    archive, runs = tmp_path / "odd.tar.gz", tmp_path / "runs"
    with tarfile.open(archive, "w:gz") as tar:
        good, odd = tarfile.TarInfo("runs/small/kd/0123456789abcdef/record.json"), tarfile.TarInfo(name)
        good.size = 2
        tar.addfile(good, io.BytesIO(b"{}"))
        if name.endswith("LINK"):
            odd.type, odd.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(odd)
    with pytest.raises(KdbenchError, match="Nothing was unpacked"):
        unpack(archive, runs)
    assert not runs.exists()


def test_a_broken_archive_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")
    with pytest.raises(KdbenchError, match="Cannot read the archive"):
        unpack(tmp_path / "x.tar.gz", tmp_path)


@pytest.mark.parametrize("name", ["cifar100", "cifar100-quarter"])
def test_the_campaigns_that_ship_name_what_is_there(name: str) -> None:
    assert load_campaign(CAMPAIGNS / f"{name}.toml").parts[0].methods[0] == "vanilla"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("parts = 3", "parts"),
        ("[[parts]]\nsuite = 'digits'\nmethods = ['kdd']", "Did you mean 'kd'"),
        ("[[parts]]\nsuite = 'digits'\nmethods = ['kd']\nseed = '3'", "unknown key 'parts.0.seed'"),
        ("[[parts", "no TOML"),
    ],
)
def test_a_mistake_in_a_campaign_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(KdbenchError, match=said) as error:
        load_campaign(tmp_path / "c.toml")
    assert "\n" not in str(error.value)
