"""Files are decoded once; what was kept of them is checked, and made again where it is damaged or theirs no more."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import torch

from kdbench.data import small as data_module
from kdbench.data.small import content_sha256, data_folder, load_data
from kdbench.errors import KdbenchError
from tests.kdbench.data.parquet_files import DATA, TEST, pictures, write


def test_a_second_start_reads_the_cache_and_not_the_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_data(DATA)
    load_data.cache_clear()
    monkeypatch.setattr(data_module, "read_source", lambda *a: pytest.fail("decoded again"))
    assert torch.equal(load_data(DATA).train_images, first.train_images)


@pytest.mark.parametrize("damage", ["truncated", "gone"])
def test_a_damaged_cache_is_made_again(damage: str, folder: Path) -> None:
    first = load_data(DATA).train_images.clone()
    [array] = (folder.parents[1] / "cache" / "data").glob("*/train_images.npy")
    if damage == "gone":
        array.unlink()
    else:
        array.write_bytes(array.read_bytes()[:-100])
    load_data.cache_clear()
    assert torch.equal(load_data(DATA).train_images, first)


def test_a_cache_with_other_bytes_is_made_again_where_the_suite_has_a_hash(folder: Path) -> None:
    with pytest.raises(KdbenchError, match=r"sha256 [0-9a-f]{64}, not") as caught:
        load_data(DATA.model_copy(update={"sha256": "0" * 64}))
    right = DATA.model_copy(update={"sha256": str(caught.value).split("sha256 ")[1][:64]})
    first = load_data(right).train_images.clone()
    array = data_folder(right) / "train_images.npy"
    content = bytearray(array.read_bytes())
    content[-1] ^= 1
    array.write_bytes(content)
    load_data.cache_clear()
    assert torch.equal(load_data(right).train_images, first)


def test_a_truncated_file_is_one_line_and_leaves_no_cache(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("datasets").addHandler(caplog.handler)
    path = folder / "train-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(KdbenchError, match=r"Cannot read .*train-00001-of-00002.parquet \(--data-dir\): ") as caught:
        load_data(DATA)
    assert "\n" not in str(caught.value)
    assert not caplog.records  # of the datasets library, which would say it once more
    assert not list((folder.parents[1] / "cache" / "data").glob("*/*.npy"))


def test_a_cache_that_cannot_be_written_names_its_setting(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(KdbenchError, match="Set KDBENCH_CACHE to another folder"):
        load_data(DATA)


def test_files_with_other_labels_are_other_data_and_are_read_anew(folder: Path) -> None:
    first, before = load_data(DATA).test_labels, content_sha256(DATA)
    pixels, labels = pictures(6, seed=1)
    write(folder / TEST, pixels, (labels + 1) % 3)
    load_data.cache_clear()
    assert load_data(DATA).test_labels.tolist() == [(label + 1) % 3 for label in first.tolist()]
    assert content_sha256(DATA) != before


def test_unchanged_files_are_not_decoded_for_their_content(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content_sha256(DATA)
    monkeypatch.setattr(data_module, "read_source", lambda *a: pytest.fail("decoded again"))
    assert content_sha256(DATA) == before
    load_data(DATA.model_copy(update={"sha256": before}))  # as a worker does


@pytest.mark.parametrize("damage", [b"", b"0" * 64 + b"\n", b"\xff\xfe", b"a b\n"])
def test_a_damaged_index_is_made_again(damage: bytes, folder: Path) -> None:
    before = content_sha256(DATA)
    [entry] = [p for p in (folder.parents[1] / "cache" / "data" / "contents").iterdir() if p.suffix != ".lock"]
    entry.write_bytes(damage)
    assert content_sha256(DATA) == before
    assert before in entry.read_text()


def test_files_that_change_while_they_are_read_are_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = data_module.read_source

    def disturbed(*given: object) -> object:
        found = read(*given)  # type: ignore[arg-type]
        os.utime(folder / TEST)
        return found

    monkeypatch.setattr(data_module, "read_source", disturbed)
    with pytest.raises(KdbenchError, match=r"changed while they were read. Run the command again"):
        content_sha256(DATA)


def test_cached_arrays_of_other_numbers_than_the_suite_says_are_refused(folder: Path) -> None:
    right = DATA.model_copy(update={"sha256": content_sha256(DATA)})
    load_data(right)
    with pytest.raises(KdbenchError, match=r"has 12 rows, but the suite's .data. says 13"):
        load_data(right.model_copy(update={"train": 13}))
