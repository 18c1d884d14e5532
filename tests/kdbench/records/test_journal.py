"""A change of results that is killed anywhere is as if it had not been, or is completed by the next."""

from __future__ import annotations

import multiprocessing
from contextlib import suppress
from pathlib import Path

import pytest

from kdbench.errors import KdbenchError
from kdbench.layout import BEGUN, DECIDED
from kdbench.records.journal import changing, finish, remove
from kdbench.records.locks import folder_lock

FILES = ("digits/kd/records.jsonl", "digits/kd/evidence.parquet", "WITHDRAWN.md")


class Killed(BaseException):
    """As by a signal: nothing is tidied up after it."""


def change(results: Path, text: str) -> None:
    with changing(results) as staging:
        for name in FILES:
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).write_text(text)
        remove(staging / "digits" / "kd" / "verified.jsonl")


def content(results: Path) -> set[str]:
    return {(results / name).read_text() for name in FILES}


@pytest.mark.parametrize("killed_at", range(6))
def test_a_killed_change_is_whole_or_none(killed_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(tmp_path, "old")
    (tmp_path / "digits" / "kd" / "verified.jsonl").touch()
    calls = iter(range(99))

    def dies(real: object) -> object:
        def call(self: Path, *arguments: object, **options: object) -> object:
            if next(calls) == killed_at:
                raise Killed
            return real(self, *arguments, **options)  # type: ignore[operator]

        return call

    with monkeypatch.context() as patched:
        for name in ("rename", "replace", "unlink"):
            patched.setattr(Path, name, dies(getattr(Path, name)))
        patched.setattr("shutil.rmtree", lambda *a, **o: None)  # whoever is killed tidies nothing up
        with suppress(Killed):
            change(tmp_path, "new")
    decided = (tmp_path / DECIDED).exists() or content(tmp_path) == {"new"}
    finish(tmp_path)
    assert content(tmp_path) == ({"new"} if decided else {"old"})
    assert decided == (killed_at > 0)
    assert (tmp_path / "digits" / "kd" / "verified.jsonl").exists() != decided
    assert not (tmp_path / BEGUN).exists()
    assert not (tmp_path / DECIDED).exists()
    change(tmp_path, "newer")
    assert content(tmp_path) == {"newer"}


def test_an_error_on_the_way_changes_nothing(tmp_path: Path) -> None:
    change(tmp_path, "old")
    with suppress(ZeroDivisionError), changing(tmp_path) as staging:
        (staging / "WITHDRAWN.md").write_text("new")
        raise ZeroDivisionError
    assert content(tmp_path) == {"old"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["WITHDRAWN.md", "digits"]


def hold(folder: Path, held: object, done: object) -> None:
    with folder_lock(folder):
        held.set()  # type: ignore[attr-defined]
        done.wait(20)  # type: ignore[attr-defined]


def test_two_do_not_change_the_same_results(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held, done = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path, held, done))
    other.start()
    assert held.wait(20)
    with pytest.raises(KdbenchError, match="Another kdbench is writing"):
        change(tmp_path, "new")
    done.set()
    other.join()
    change(tmp_path, "new")
