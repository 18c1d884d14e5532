"""Distilled data beside records: what is kept, what of strangers' files is refused, what the gate asks of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from kdbench.commands.validate import folder_problems
from kdbench.errors import KdbenchError
from kdbench.records.distilled import images_sha256, read_distilled, write_distilled
from kdbench.records.gate import distilled_problems
from kdbench.records.parts import Distilled
from kdbench.records.reader import read_results
from kdbench.records.record import parse_record
from kdbench.records.store import read_cell, write_results
from kdbench.suites import load_suite
from tests.distilled import NAME, Ran

IMAGES = np.arange(2 * 64, dtype=np.uint8).reshape(2, 1, 8, 8)


def test_images_are_kept_by_their_hash(tmp_path: Path) -> None:
    path, sha256 = tmp_path / "distilled.safetensors", images_sha256(IMAGES)
    write_distilled(path, {sha256: IMAGES})
    assert np.array_equal(read_distilled(path)[sha256], IMAGES)
    assert images_sha256(IMAGES.reshape(1, 2, 8, 8)) != sha256


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no safetensors", "cannot be read"),
        (b"", "cannot be read"),
        (b"\xff" * 8 + b"{}", "cannot be read"),
        (save({"x": IMAGES.astype(np.float32)}), "'x' are no small images of 8 bits"),
        (save({"x": IMAGES[0]}), "'x' are no small images of 8 bits"),
        (save({"x": IMAGES.reshape(1, 2, 8, 8)}), "'x' are no small images of 8 bits"),
        (save({"x": np.zeros((1, 1, 1, 65), np.uint8)}), "'x' are no small images of 8 bits"),
        (save({"x": IMAGES[:0]}), "'x' are no small images of 8 bits"),
    ],
)
def test_a_strangers_file_that_holds_no_images_is_refused_in_a_line(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "distilled.safetensors"
    path.write_bytes(content)
    with pytest.raises(KdbenchError) as error:
        read_distilled(path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    write_distilled(tmp_path / "elsewhere", {"x": IMAGES})
    (tmp_path / "distilled.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KdbenchError, match="is a link"):
        read_distilled(tmp_path / "distilled.safetensors")


def test_a_record_without_distilled_data_is_written_as_before(distilled: Ran) -> None:
    text = distilled.entries["vanilla", "convnet", 0].record.to_json()
    assert "distilled" not in text.replace(NAME, "").replace('"distilled":{"images_per_class":2}', "")
    record = distilled.entries["dm", "convnet", 0].record
    assert parse_record(record.to_json(), "it").distilled == record.distilled


def test_a_cell_whose_images_were_changed_is_corrupt(distilled: Ran, tmp_path: Path) -> None:
    entry = distilled.entries["dm", "convnet", 0]
    folder = shutil.copytree(entry.folder, tmp_path / entry.folder.name)
    assert np.array_equal(read_cell(folder).images, entry.images)
    changed = entry.images.copy()
    changed[0, 0, 0, 0] ^= 1
    (folder / "synthetic.safetensors").write_bytes(save({"images": changed}))
    with pytest.raises(KdbenchError, match=r"synthetic.safetensors is corrupt: the images .* do not match their hash"):
        read_cell(folder)
    (folder / "synthetic.safetensors").unlink()
    with pytest.raises(KdbenchError, match=r"Cannot read .*synthetic.safetensors"):
        read_cell(folder)


@pytest.fixture
def accepted(distilled: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results of the small suite, as if it were a built-in one."""
    results = tmp_path / "results"
    for method in ("dm", "vanilla"):
        write_results(results / NAME / method, [e for (m, *_), e in distilled.entries.items() if m == method])
    monkeypatch.setattr("kdbench.commands.validate.list_suites", lambda: [NAME])
    monkeypatch.setattr("kdbench.commands.validate.load_suite", lambda name: load_suite(str(distilled.file)))
    return results


def said(results: Path) -> list[str]:
    """The problems of the images, in words; those of made-up teachers and lacking checks are left out."""
    return [str(problem) for problem in folder_problems(results, []) if "distilled" in str(problem).replace(NAME, "")]


def test_results_hold_each_set_of_images_once(accepted: Path, distilled: Ran) -> None:
    found = read_distilled(accepted / NAME / "dm" / "distilled.safetensors")
    assert len(found) == distilled.suite.seeds
    assert not (accepted / NAME / "vanilla" / "distilled.safetensors").exists()
    for entry in read_results(accepted / NAME / "dm"):
        assert np.array_equal(entry.images, found[entry.record.distilled.sha256])
    assert said(accepted) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda path: path.unlink(), "distilled.safetensors: it is missing"),
        (lambda path: path.write_bytes(b"broken"), "distilled.safetensors cannot be read"),
        (
            lambda path: write_distilled(path, dict.fromkeys(read_distilled(path), IMAGES)),
            "its distilled images are missing, or do not match their hash",
        ),
        (
            lambda path: write_distilled(path, {**read_distilled(path), "more": IMAGES}),
            "distilled.safetensors: it has keys that no record has",
        ),
    ],
)
def test_validate_names_what_is_wrong_with_the_images(
    change: Callable[[Path], object], what: str, accepted: Path
) -> None:
    change(accepted / NAME / "dm" / "distilled.safetensors")
    assert any(what in problem for problem in said(accepted)), said(accepted)


def test_the_gate_wants_images_of_the_suites_number_of_methods_that_make_them(distilled: Ran) -> None:
    entry, suite = distilled.entries["dm", "convnet", 0], distilled.suite
    plain = distilled.entries["vanilla", "convnet", 0].record
    named = Distilled(sha256=images_sha256(IMAGES), seconds=1.0)

    def problem(record: object, images: np.ndarray | None = None, of: object = suite) -> str:
        return next(distilled_problems(record, of, images), "")

    assert problem(entry.record, entry.images) == ""
    assert problem(plain) == ""
    assert "are missing" in problem(entry.record)
    assert "of shape (2, 1, 8, 8), the suite's of (20, 1, 8, 8)" in problem(entry.record, IMAGES)
    assert "its method makes none" in problem(entry.record.model_copy(update={"distilled": None}))
    assert "its method makes none" in problem(plain.model_copy(update={"distilled": named}))
    assert "its suite is of the other kind" in problem(entry.record, entry.images, load_suite("digits"))
