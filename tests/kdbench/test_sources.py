"""Parquet files of a folder: read without a network, in any order, once; and what is wrong with them in one line."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from kdbench import data as data_module
from kdbench.data import data_folder, load_data
from kdbench.errors import KdbenchError
from kdbench.suite import Data

DATA = Data(
    source="someone/pictures",
    columns=("img", "fine_label"),
    num_classes=3,
    image_size=(4, 5),
    channels=3,
    train=12,
    test=6,
    validation=3,
    mean=(0.5, 0.5, 0.5),
    std=(0.2, 0.2, 0.2),
)


def pictures(rows: int, seed: int = 0, size: tuple[int, int] = (4, 5)) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (rows, *size, 3), dtype=np.uint8), np.arange(rows) % 3


def write(path: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    def encoded(image: np.ndarray) -> dict[str, object]:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="PNG")
        return {"bytes": buffer.getvalue(), "path": None}

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"img": [encoded(image) for image in pixels], "fine_label": labels}), path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the data set, its train part in two files."""
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path / "mine"))
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pixels, labels = pictures(12)
    place = tmp_path / "mine" / "pictures"
    write(place / "train-00000-of-00002.parquet", pixels[:7], labels[:7])
    write(place / "train-00001-of-00002.parquet", pixels[7:], labels[7:])
    write(place / "test-00000-of-00001.parquet", *pictures(6, seed=1))
    load_data.cache_clear()
    return place


def test_all_rows_are_read_with_their_labels(folder: Path) -> None:
    dataset = load_data(DATA)
    pixels, labels = pictures(12)
    expected = {(image.transpose(2, 0, 1).tobytes(), label) for image, label in zip(pixels, labels, strict=True)}
    found = zip(dataset.train_images.numpy(), dataset.train_labels.numpy(), strict=True)
    assert {(image.tobytes(), label) for image, label in found} == expected
    assert dataset.test_images.shape == (6, 3, 4, 5)


def test_the_order_of_the_files_rows_does_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_data(DATA)
    again = folder.parent.parent / "shuffled"
    deep = again / "someone" / "pictures" / "deep"
    order = np.random.default_rng(2).permutation(12)
    write(
        deep / "train-00000-of-00001.parquet",
        *(array[order] for array in pictures(12)),
    )
    write(
        deep / "test-00000-of-00001.parquet",
        *(array[::-1] for array in pictures(6, seed=1)),
    )
    monkeypatch.setenv("KDBENCH_DATA", str(again))
    load_data.cache_clear()
    second = load_data(DATA)
    for part in ("train_images", "train_labels", "test_images", "test_labels"):
        assert torch.equal(getattr(first, part), getattr(second, part))


def test_a_folder_that_is_the_data_set_needs_no_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_DATA", str(folder))
    assert len(load_data(DATA.model_copy(update={"source": "someone/else"})).train_labels) == 12


def test_grey_images_are_one_channel(folder: Path) -> None:
    grey = np.repeat(pictures(6, seed=1)[0][..., :1], 3, axis=3)
    write(folder / "test-00000-of-00001.parquet", grey, np.arange(6) % 3)
    data = DATA.model_copy(update={"channels": 1, "mean": (0.5,), "std": (0.2,)})
    found = {image.tobytes() for image in load_data(data).test_images.numpy()}
    assert found == {image[..., 0].tobytes() for image in grey}


def test_a_second_start_reads_the_cache_and_not_the_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_data(DATA)
    load_data.cache_clear()
    monkeypatch.setattr(data_module, "read_source", lambda *a: pytest.fail("decoded again"))
    assert torch.equal(load_data(DATA).train_images, first.train_images)


@pytest.mark.parametrize("damage", ["truncated", "gone"])
def test_a_damaged_cache_is_made_again(damage: str, folder: Path) -> None:
    first = load_data(DATA).train_images.clone()
    array = data_folder(DATA) / "train_images.npy"
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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"columns": ("img", "label")}, "no column 'label'.*Did you mean 'fine_label'"),
        ({"columns": ("imgs", "fine_label")}, "no column 'imgs'.*Did you mean 'img'"),
        ({"splits": ("train", "validation")}, "No validation-.*parquet of 'someone/pictures' in"),
        ({"source": "someone/else"}, "No train-.*parquet of 'someone/else' in"),
        ({"source": "nowhere"}, "Unknown data source 'nowhere'"),
        ({"train": 13}, "has 12 rows, but the suite's .data. says 13"),
        ({"test": 5}, "has 6 rows, but the suite's .data. says 5"),
        ({"num_classes": 4}, "'classes': 3.*'classes': 4"),
        ({"image_size": (5, 5)}, "image of 4 x 5 pixels.*says 5 x 5"),
        ({"channels": 2}, "1 or 3 channels, not 2"),
        ({"test_labels_sha256": "0" * 64}, "data.test_labels_sha256"),
    ],
)
def test_other_content_than_the_suite_says_is_one_line(change: dict[str, object], said: str, folder: Path) -> None:
    data: Data = DATA.model_copy(update=change)
    with pytest.raises(KdbenchError, match=said) as caught:
        load_data(data)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_one_line_and_leaves_no_cache(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("datasets").addHandler(caplog.handler)
    path = folder / "train-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(KdbenchError, match=r"Cannot read 'train' of 'someone/pictures' in .*--data-dir") as caught:
        load_data(DATA)
    assert "\n" not in str(caught.value)
    assert not caplog.records  # of the datasets library, which would say it once more
    assert not data_folder(DATA).exists()


def test_an_image_that_is_none_is_one_line(folder: Path) -> None:
    table = pa.table({"img": [{"bytes": b"not an image", "path": None}] * 6, "fine_label": [0, 1, 2] * 2})
    pq.write_table(table, folder / "test-00000-of-00001.parquet")
    with pytest.raises(KdbenchError, match="Cannot read 'test' of 'someone/pictures'") as caught:
        load_data(DATA)
    assert "\n" not in str(caught.value)


def test_without_network_and_folder_the_error_says_where_to_put_the_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KDBENCH_DATA")
    with pytest.raises(KdbenchError, match=r"Cannot download 'someone/pictures'.*--data-dir or KDBENCH_DATA") as caught:
        load_data(DATA)
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written_names_its_setting(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(KdbenchError, match="Set KDBENCH_CACHE to another folder"):
        load_data(DATA)
