"""Metrics follow from the evidence; the evidence survives its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kdbench.errors import KdbenchError
from kdbench.records.evidence import Evidence, agreement, evidence_from_logits, read_evidence, write_evidence
from kdbench.records.metrics import metrics

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 20, 300)
LOGITS = 2 * RNG.standard_normal((300, 20)) + 2 * np.eye(20)[LABELS]


def test_metrics_equal_their_definitions() -> None:
    found = metrics(evidence_from_logits(LOGITS, LABELS), LABELS, 20)
    logits, labels = torch.from_numpy(LOGITS), torch.from_numpy(LABELS)
    top5 = (logits.topk(5).indices == labels[:, None]).any(1).double().mean()
    assert found.top1 == pytest.approx(100 * (logits.argmax(1) == labels).double().mean().item())
    assert found.top5 == pytest.approx(100 * top5.item())
    assert found.nll == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-3)


def test_calibration_error_equals_a_loop_over_bins() -> None:
    evidence = evidence_from_logits(LOGITS, LABELS)
    confidence, error = evidence.top_probability.astype(float), 0.0
    for low in np.arange(15) / 15:
        inside = (confidence >= low) & (confidence < low + 1 / 15)
        if inside.any():
            gap = (evidence.predicted == LABELS)[inside].mean() - confidence[inside].mean()
            error += inside.mean() * abs(gap)
    assert metrics(evidence, LABELS, 20).ece == pytest.approx(100 * error, rel=1e-6)


def test_top5_is_left_out_where_there_are_ten_classes() -> None:
    labels = LABELS % 10
    assert metrics(evidence_from_logits(LOGITS[:, :10], labels), labels, 10).top5 is None


def test_a_tie_goes_to_the_lower_class_in_prediction_and_rank() -> None:
    evidence = evidence_from_logits(np.zeros((2, 3)), np.array([0, 2]))
    assert evidence.predicted.tolist() == [0, 0]
    assert evidence.rank.tolist() == [0, 2]


def test_extreme_logits_stay_finite() -> None:
    evidence = evidence_from_logits(np.array([[1e6, -1e6]]), np.array([1]))
    assert np.isfinite(evidence.log_probability).all()


def test_other_labels_are_noticed() -> None:
    with pytest.raises(KdbenchError, match="does not belong"):
        metrics(evidence_from_logits(LOGITS, LABELS), (LABELS + 1) % 20, 20)


def test_agreement_is_the_part_of_equal_predictions() -> None:
    one = evidence_from_logits(LOGITS, LABELS)
    assert agreement(one, one) == 100
    assert agreement(one, evidence_from_logits(-LOGITS, LABELS)) == 0


def test_the_file_gives_back_what_was_written(tmp_path: Path) -> None:
    cells = {"b" * 64: evidence_from_logits(LOGITS, LABELS), "a" * 64: evidence_from_logits(LOGITS[:7], LABELS[:7])}
    write_evidence(tmp_path / "e.parquet", cells)
    found = read_evidence(tmp_path / "e.parquet")
    assert {key: value.sha256() for key, value in found.items()} == {k: v.sha256() for k, v in cells.items()}
    assert all(getattr(found["b" * 64], name).dtype == dtype for name, dtype in Evidence.DTYPES.items())


@pytest.mark.parametrize("content", [b"", b"PAR1 but not really PAR1"])
def test_another_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "e.parquet").write_bytes(content)
    with pytest.raises(KdbenchError, match=r"e\.parquet cannot be read") as caught:
        read_evidence(tmp_path / "e.parquet")
    assert "\n" not in str(caught.value)
