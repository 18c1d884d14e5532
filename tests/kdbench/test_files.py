"""What is no plain file of bounded size is refused before it is opened; folders change as a whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from kdbench import files
from kdbench.errors import KdbenchError
from kdbench.files import check_folder, exchange, read_plain, restore, supersede

Make = Callable[[Path], object]
HOSTILE: dict[str, tuple[Make, str]] = {
    "link to a device": (lambda path: path.symlink_to("/dev/zero"), "is a link"),
    "link to a file": (lambda path: path.symlink_to(__file__), "is a link"),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "is a link"),
    "pipe": (os.mkfifo, "is no file"),
    "folder": (lambda path: path.mkdir(), "is no file"),
    "sparse giant": (lambda path: (path.touch(), os.truncate(path, 2**40)), "is over 100 bytes"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_plain_file_is_one_line_and_not_opened(kind: str, tmp_path: Path) -> None:
    make, said = HOSTILE[kind]
    make(tmp_path / "file")
    with pytest.raises(KdbenchError, match=said) as caught:
        read_plain(tmp_path / "file", 100)
    assert "\n" not in str(caught.value)


def test_a_file_of_the_largest_size_is_read_and_a_missing_one_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100)
    assert read_plain(tmp_path / "file", 100) == b"x" * 100
    with pytest.raises(FileNotFoundError):
        read_plain(tmp_path / "none", 100)
    for name in ("n" * 260, "null\0byte"):
        with pytest.raises(KdbenchError, match="Cannot read"):
            read_plain(tmp_path / name, 100)


def test_a_folder_to_write_is_looked_at_first(tmp_path: Path) -> None:
    check_folder(tmp_path / "new" / "deep")
    (tmp_path / "file").touch()
    for bad in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("n" * 260)):
        with pytest.raises(KdbenchError, match="--out "):
            check_folder(bad)


@pytest.mark.parametrize("killed_at", [0, 1, 2])
def test_a_killed_exchange_leaves_the_old_folder_or_the_new_one(
    killed_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, place, old = (tmp_path / name for name in ("new", "place", "old"))
    for folder in (new, place):
        folder.mkdir()
        (folder / folder.name).touch()
    rename, calls = Path.rename, iter(range(9))

    def killed(self: Path, target: Path) -> Path:
        if next(calls) == killed_at:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        try:
            exchange(new, place, old)
        except KeyboardInterrupt:
            assert killed_at < 2
    restore(place, old)
    assert [path.name for path in place.iterdir()] == ["place" if killed_at < 2 else "new"]
    assert not old.exists()


def folder_of(path: Path, content: str) -> Path:
    path.mkdir()
    (path / "record").write_text(content)
    return path


@pytest.mark.parametrize("has_swap", [True, False])
def test_a_superseded_folder_is_set_aside(has_swap: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_swap:
        monkeypatch.setattr(files, "swap", lambda one, other: False)
    old, new = folder_of(tmp_path / "cell", "old"), folder_of(tmp_path / "new", "new")
    aside = supersede(new, old)
    assert (old / "record").read_text() == "new"
    assert (aside / "record").read_text() == "old"
    assert sorted(tmp_path.iterdir()) == sorted([old, aside])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges folders in one step")
@pytest.mark.parametrize("renamings", [0, 1, 2])
def test_a_folder_is_in_place_whenever_its_replacement_is_killed(
    renamings: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = folder_of(tmp_path / "cell", "old"), folder_of(tmp_path / "new", "new")
    rename, left = Path.rename, [None] * renamings

    def killed_after(path: Path, target: Path) -> Path:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed_after)
    with suppress(KeyboardInterrupt):
        supersede(new, old)
    assert (old / "record").read_text() in ("old", "new")
