"""Parquet files of a folder: read without a network, in any order; and what is wrong with them in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from kdbench.data.small import content_sha256, load_data
from kdbench.errors import KdbenchError
from kdbench.tables import Data
from tests.kdbench.data.parquet_files import DATA, NAMES, TEST, pictures, png, write


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


def test_larger_images_are_scaled_to_means_over_boxes_where_the_suite_says_so(folder: Path) -> None:
    pixels, labels = pictures(6, seed=1, size=(8, 10))
    write(folder / "test-00000-of-00001.parquet", pixels, labels)
    with pytest.raises(KdbenchError, match=r"8 x 10 pixels, but .* 4 x 5\. To scale all images, set data.resize"):
        load_data(DATA)
    found = load_data(DATA.model_copy(update={"resize": "box"})).test_images.double()
    means = pixels.reshape(6, 4, 2, 5, 2, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2)
    assert all(np.abs(means - image.numpy()).max(axis=(1, 2, 3)).min() <= 1 for image in found)


def test_images_of_other_proportions_are_cut_at_both_ends(folder: Path) -> None:
    pixels, labels = pictures(6, seed=1, size=(4, 9))
    write(folder / "test-00000-of-00001.parquet", pixels, labels)
    found = load_data(DATA.model_copy(update={"resize": "box"})).test_images
    middle = {image.tobytes() for image in np.ascontiguousarray(pixels[:, :, 2:7].transpose(0, 3, 1, 2))}
    assert {image.numpy().tobytes() for image in found} == middle


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
        ({"test_labels_sha256": "0" * 64}, "data.test_labels_sha256"),
    ],
)
def test_other_content_than_the_suite_says_is_one_line(change: dict[str, object], said: str, folder: Path) -> None:
    data: Data = DATA.model_copy(update=change)
    with pytest.raises(KdbenchError, match=said) as caught:
        load_data(data)
    assert "\n" not in str(caught.value)


def test_an_image_that_is_none_is_one_line(folder: Path) -> None:
    table = pa.table({"img": [{"bytes": b"not an image", "path": None}] * 6, "fine_label": [0, 1, 2] * 2})
    pq.write_table(table, folder / "test-00000-of-00001.parquet")
    with pytest.raises(
        KdbenchError, match=r"Cannot read .*test-00000-of-00001.parquet row 0: it is no image"
    ) as caught:
        load_data(DATA)
    assert "\n" not in str(caught.value)


def test_without_network_and_folder_the_error_says_where_to_put_the_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KDBENCH_DATA")
    with pytest.raises(KdbenchError, match=r"Cannot download 'someone/pictures'.*--data-dir or KDBENCH_DATA") as caught:
        load_data(DATA)
    assert "\n" not in str(caught.value)


def test_classes_have_the_numbers_of_trains_names_whatever_order_other_files_have_them_in(folder: Path) -> None:
    first = load_data(DATA)
    pixels, labels = pictures(12)
    write(folder / "train-00000-of-00002.parquet", pixels[:7], labels[:7], NAMES)
    other = np.array([2, 0, 1])  # of ant, bee, cat
    write(folder / "train-00001-of-00002.parquet", pixels[7:], other[labels[7:]], ["bee", "cat", "ant"])
    pixels, labels = pictures(6, seed=1)
    write(folder / TEST, pixels[labels != 2], np.array([1, 0])[labels[labels != 2]], ["bee", "ant"])
    load_data.cache_clear()
    again = load_data(DATA.model_copy(update={"test": 4}))
    assert torch.equal(again.train_labels, first.train_labels)
    assert again.test_labels.tolist() == [label for label in first.test_labels.tolist() if label != 2]


@pytest.mark.parametrize(
    ("labels", "names", "said"),
    [
        ([0, 1, 2] * 2, ["ant", "bee", "dog"], "test.*have the names dog, which the train part's do not have"),
        ([0, 1, 2] * 2, None, "test.* are plain integers, but those of the train part's first file are names"),
        ([0, 1, 7] * 2, NAMES, "test.*row 2 has the label 7, but classes are 0 to 2"),
        ([0, 1, -1] * 2, NAMES, "test.*row 2 has the label -1"),
        ([0, 1, None] * 2, NAMES, "test.*row 2 has the label None"),
    ],
)
def test_labels_that_mean_something_else_than_trains_are_refused_by_name(
    labels: list[int | None], names: list[str] | None, said: str, folder: Path
) -> None:
    pixels, train_labels = pictures(12)
    write(folder / "train-00000-of-00002.parquet", pixels[:7], train_labels[:7], NAMES)
    write(folder / "train-00001-of-00002.parquet", pixels[7:], train_labels[7:], NAMES)
    write(folder / TEST, pictures(6, seed=1)[0], pa.array(labels, pa.int64()), names)
    with pytest.raises(KdbenchError, match=said) as caught:
        load_data(DATA)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0.0, 1.5, 2.0] * 2, "holds float64"),
        ([True, False, True] * 2, "holds bool"),
        (["a", "b", "c"] * 2, r"holds string \(row 0 has 'a'\); labels must be integers 0 to 2"),
        (["0", "1", "cat"] * 2, r"holds string \(row 2 has 'cat'\); labels must be integers 0 to 2"),
        ([[0], [1], [2]] * 2, "holds List"),
        ([0, 1, -1] * 2, "row 2 has the label -1, but classes are 0 to 2"),
        ([0, 1, 3] * 2, "row 2 has the label 3"),
        ([0, 1, None] * 2, "row 2 has the label None"),
    ],
)
def test_labels_that_are_no_class_numbers_are_refused(labels: list[object], said: str, folder: Path) -> None:
    write(folder / TEST, pictures(6, seed=1)[0], pa.array(labels))
    with pytest.raises(KdbenchError, match=said) as caught:
        load_data(DATA)
    assert "\n" not in str(caught.value)


def test_a_row_without_an_image_is_named(folder: Path) -> None:
    rows = [{"bytes": png(image), "path": None} for image in pictures(6, seed=1)[0]]
    for missing in (None, {"bytes": None, "path": None}):
        table = pa.table({"img": [*rows[:4], missing, rows[5]], "fine_label": [0, 1, 2] * 2})
        pq.write_table(table, folder / TEST)
        said = "has no image .null.. Remove the row" if missing is None else "holds no encoded image"
        with pytest.raises(KdbenchError, match=rf"test-.*parquet row 4 {said}"):
            load_data(DATA)


@pytest.mark.parametrize(
    ("train", "test"), [("train-00000-of-00001", "test-0"), ("train", "test"), ("train/0000", "test/0000")]
)
@pytest.mark.parametrize("below", ["", "data", "default", "plain"])
def test_the_layouts_of_copies_are_found(
    train: str, test: str, below: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_data(DATA)
    place = tmp_path / "copy" / "pictures" / below
    write(place / f"{train}.parquet", *pictures(12))
    write(place / f"{test}.parquet", *pictures(6, seed=1))
    load_data.cache_clear()
    named = {"config": below} if below in ("plain", "default") else {}
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path / "copy"))
    assert torch.equal(load_data(DATA.model_copy(update=named)).train_images, first.train_images)
    if below in ("", "default"):
        load_data.cache_clear()
        monkeypatch.setenv("KDBENCH_DATA", str(tmp_path / "copy" / "pictures"))
        assert torch.equal(load_data(DATA).test_images, first.test_images)


def test_of_several_configurations_the_suite_says_which(folder: Path) -> None:
    for path in list(folder.iterdir()):
        path.unlink()
    for name, seed in (("fine", 0), ("coarse", 5)):
        write(folder / name / "train" / "0000.parquet", *pictures(12, seed))
        write(folder / name / "test" / "0000.parquet", *pictures(6, seed + 1))
    with pytest.raises(KdbenchError, match=r"several configurations .*coarse/train, fine/train.*data.config"):
        load_data(DATA)
    found = {content_sha256(DATA.model_copy(update={"config": name})) for name in ("fine", "coarse")}
    assert len(found) == 2
    with pytest.raises(KdbenchError, match=r"No train-\*.parquet of"):
        load_data(DATA.model_copy(update={"config": "medium"}))


def test_parts_of_parts_are_cut_as_the_datasets_library_does(folder: Path) -> None:
    splits = ("train[:60%]", "train[60%:]")
    data = DATA.model_copy(update={"splits": splits, "train": 7, "test": 5, "validation": 2})
    found, (pixels, labels) = load_data(data), pictures(12)
    for images, rows in ((found.train_images, pixels[:7]), (found.test_images, pixels[7:])):
        assert {image.tobytes() for image in images.numpy()} == {r.transpose(2, 0, 1).tobytes() for r in rows}
    assert sorted(found.test_labels.tolist()) == sorted(labels[7:].tolist())
    for split, said in (
        ("train[:x]", "is no part of 12 rows"),
        ("train[5:5]", "has no rows, of 12"),
        ("train[20:30]", "data.splits: 'train.20:30.'"),
    ):
        with pytest.raises(KdbenchError, match=said):
            load_data(data.model_copy(update={"splits": (split, "test")}))


def test_a_row_of_a_cut_part_is_named_by_its_number_in_the_file(folder: Path) -> None:
    write(folder / "train-00001-of-00002.parquet", pictures(12)[0][7:], np.array([0, 1, 9, 1, 2]))
    data = DATA.model_copy(update={"splits": ("train[8:]", "test"), "train": 4, "validation": 2})
    with pytest.raises(KdbenchError, match=r"train-00001-of-00002.parquet row 2 has the label 9"):
        load_data(data)


def test_a_data_set_of_one_part_is_split_by_a_seed_whatever_the_order_of_its_rows(folder: Path) -> None:
    update = {"splits": ("train", "train"), "split_seed": 7, "train": 9, "test": 3}
    data = DATA.model_copy(update=update)
    first = load_data(data)
    assert first.test_labels.tolist().count(0) == first.test_labels.tolist().count(2) == 1
    pixels, labels = pictures(12)
    (folder / "train-00001-of-00002.parquet").unlink()
    write(folder / "train-00000-of-00002.parquet", pixels[::-1], labels[::-1])
    load_data.cache_clear()
    assert torch.equal(load_data(data).test_images, first.test_images)
    other = load_data(data.model_copy(update={"split_seed": 8}))
    assert not torch.equal(other.test_images, first.test_images)


def test_an_image_that_a_row_only_names_is_not_opened(folder: Path, tmp_path: Path) -> None:
    Image.fromarray(pictures(1)[0][0]).save(tmp_path / "secret.png")
    rows = [{"bytes": None, "path": str(tmp_path / "secret.png")}] * 6
    pq.write_table(pa.table({"img": rows, "fine_label": [0, 1, 2] * 2}), folder / TEST)
    with pytest.raises(KdbenchError, match=r"row 0 holds no encoded image. Files that a row names are not opened"):
        load_data(DATA)


def test_images_may_be_plain_bytes(folder: Path) -> None:
    first = load_data(DATA)
    pixels, labels = pictures(6, seed=1)
    pq.write_table(pa.table({"img": [png(image) for image in pixels], "fine_label": labels}), folder / TEST)
    load_data.cache_clear()
    assert torch.equal(load_data(DATA).test_images, first.test_images)
