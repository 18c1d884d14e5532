"""A Parquet file is read only if its pages, not its end, say that it is small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdbench.errors import KdbenchError
from kdbench.records.curves import read_curves
from kdbench.records.evidence import Evidence, read_evidence


def evidence_table(images: int) -> pa.Table:
    offsets = pa.array([0, images], pa.int32())
    lists = {
        name: pa.ListArray.from_arrays(offsets, pa.array(np.zeros(images, np.dtype(dtype))))
        for name, dtype in Evidence.DTYPES.items()
    }
    return pa.table({"key": ["k" * 64], **lists})


def end_of(content: bytes) -> int:
    """Where the end of a Parquet file begins."""
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


@pytest.mark.parametrize("compression", ["zstd", "snappy", "none"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_all_ways_to_write_the_same_are_read(compression: str, version: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"compression": compression, "data_page_version": version, "data_page_size": 64}
    pq.write_table(evidence_table(300), tmp_path / "e", **options)
    assert len(read_evidence(tmp_path / "e")["k" * 64].predicted) == 300


def test_a_small_file_of_many_values_is_not_unfolded(tmp_path: Path) -> None:
    pq.write_table(evidence_table(1_000_000), tmp_path / "e", compression="zstd")
    assert (tmp_path / "e").stat().st_size < 10_000
    with pytest.raises(KdbenchError, match="larger than its records can need"):
        read_evidence(tmp_path / "e", 3_999_999)


def test_an_end_that_claims_less_than_the_pages_hold_is_not_believed(tmp_path: Path) -> None:
    for name, images in (("large", 2_000_000), ("small", 300)):
        pq.write_table(evidence_table(images), tmp_path / name, compression="zstd")
    large, small = ((tmp_path / name).read_bytes() for name in ("large", "small"))
    (tmp_path / "lie").write_bytes(large[: end_of(large)] + small[end_of(small) :])
    with pytest.raises(KdbenchError, match="cannot be read"):
        read_evidence(tmp_path / "lie", 2_000)


def test_texts_that_repeat_parts_of_each_other_are_refused(tmp_path: Path) -> None:
    rows = {"key": ["x" * 100_000 + str(n) for n in range(100)], "quantity": ["loss"] * 100, "values": [[1.0]] * 100}
    types = pa.schema([("key", pa.string()), ("quantity", pa.string()), ("values", pa.list_(pa.float64()))])
    table = pa.table(rows, schema=types)
    encoding = {"key": "DELTA_BYTE_ARRAY"}
    pq.write_table(table, tmp_path / "c", use_dictionary=False, column_encoding=encoding, compression="none")
    assert (tmp_path / "c").stat().st_size < 1_000_000
    with pytest.raises(KdbenchError, match="not as kdbench writes it"):
        read_curves(tmp_path / "c")


def test_every_cut_and_flipped_byte_is_one_line_or_a_file(tmp_path: Path) -> None:
    pq.write_table(evidence_table(50), tmp_path / "e", compression="none")
    content = (tmp_path / "e").read_bytes()
    rng = np.random.default_rng(0)
    for n in rng.integers(4, len(content), 200):
        changed = bytearray(content)
        changed[n] ^= int(rng.integers(1, 256))
        (tmp_path / "e").write_bytes(changed if n % 2 else content[:n])
        try:
            read_evidence(tmp_path / "e")
        except KdbenchError as error:
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_a_curve_of_values_that_no_loss_has_is_refused(value: float, tmp_path: Path) -> None:
    from kdbench.records.curves import write_curves

    write_curves(tmp_path / "c", {"k" * 64: {"loss": [1.0, value]}})
    with pytest.raises(KdbenchError, match="'loss' of key kkkkkkkkkkkkkkkk is not finite"):
        read_curves(tmp_path / "c")
