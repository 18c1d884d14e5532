"""Checkpoints come back whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kdbench.errors import KdbenchError
from kdbench.files import write_atomically
from kdbench.training.checkpoint import load_tensors, save_tensors

TENSORS = {
    "half": torch.randn(3, 4).half(),
    "count": torch.tensor(7),
    "channels_last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    "flags": torch.tensor([True, False]),
}


def test_tensors_and_state_come_back_equal(tmp_path: Path) -> None:
    save_tensors(tmp_path / "a.safetensors", TENSORS, {"epoch": 3, "curve": [0.1, 1e-17]})
    tensors, state = load_tensors(tmp_path / "a.safetensors")
    assert all(
        torch.equal(tensors[name], value) and tensors[name].dtype == value.dtype for name, value in TENSORS.items()
    )
    assert state == {"epoch": 3, "curve": [0.1, 1e-17]}


def test_the_same_content_gives_the_same_file(tmp_path: Path) -> None:
    assert save_tensors(tmp_path / "a", TENSORS) == save_tensors(tmp_path / "b", dict(reversed(TENSORS.items())))


@pytest.mark.parametrize("position", [0.02, 0.3, 0.6, 0.999])
def test_a_flipped_bit_is_noticed(position: float, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, TENSORS, {"epoch": 3})
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(KdbenchError, match=r"a\.safetensors is corrupt"):
        load_tensors(path)


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x80\x04pickle"])
def test_another_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(KdbenchError, match="corrupt"):
        load_tensors(tmp_path / "a")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
