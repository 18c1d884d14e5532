"""Distilled data: made once for all students, the same from the same seed, and all that a student learns from."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from kdbench.checks.bench import Bench
from kdbench.checks.distilling import balanced, work
from kdbench.commands.cost import cost
from kdbench.commands.estimate import images_of
from kdbench.commands.list_methods import runs_on
from kdbench.data.access import load_dataset
from kdbench.errors import KdbenchError
from kdbench.plugins import load_method
from kdbench.records.distilled import images_sha256
from kdbench.records.evidence import evidence_from_logits
from kdbench.running.distilling import Distilling, distilled_data, forget, learner
from kdbench.running.kinds import check_kinds
from kdbench.running.plan import plan_cells, resolve_params
from kdbench.running.timing import Subject, random_dataset, time_distilling, timed_trainer
from kdbench.suites import load_suite
from kdbench.training.limit import OutOfTime, TimeLimit
from kdbench.training.trainer import Diverged
from tests.distilled import CPU, Ran, silent

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_all_students_of_a_seed_learn_from_the_same_images_and_seeds_from_others(distilled: Ran) -> None:
    for method in ("dm", "random_images"):
        found = {
            s: {e.record.distilled.sha256 for (m, _, seed), e in distilled.entries.items() if (m, seed) == (method, s)}
            for s in (0, 1)
        }
        assert [len(hashes) for hashes in found.values()] == [1, 1]
        assert found[0] != found[1]


def test_a_record_names_its_images_which_lie_beside_it_with_a_picture(distilled: Ran) -> None:
    entry = distilled.entries["dm", "vit_w32", 0]
    assert entry.images is not None
    assert (entry.images.shape, entry.images.dtype) == ((20, 1, 8, 8), np.uint8)
    assert entry.record.distilled.sha256 == images_sha256(entry.images)
    assert (entry.folder / "synthetic.png").is_file()
    assert distilled.entries["vanilla", "vit_w32", 0].record.distilled is None


def test_anyone_trains_the_student_again_from_the_images_on_its_record_alone(distilled: Ran, tmp_path: Path) -> None:
    cell = next(c for c in distilled.cells if (c.method, c.student, c.seed) == ("dm", "vit_w32", 1))
    entry, data = distilled.entries["dm", "vit_w32", 1], load_dataset(cell.data)
    trainer = learner(cell, data, torch.from_numpy(entry.images.copy()), CPU)
    assert trainer.labels.tolist() == [label for label in range(10) for _ in range(2)]
    trainer.train(tmp_path / "checkpoint.safetensors")
    evidence = evidence_from_logits(trainer.predict().numpy(), data.test_labels.numpy())
    assert evidence.sha256() == entry.record.evidence_sha256


def test_random_images_are_of_the_training_set_and_of_their_class(distilled: Ran) -> None:
    data = load_dataset(distilled.suite.data)
    known = {
        image.tobytes(): int(label) for image, label in zip(data.train_images.numpy(), data.train_labels, strict=True)
    }
    images = distilled.entries["random_images", "convnet", 0].images
    assert [known[image.tobytes()] for image in images] == [label for label in range(10) for _ in range(2)]
    assert len({image.tobytes() for image in images}) == 20


def test_the_key_knows_how_many_images_are_made(distilled: Ran) -> None:
    more = distilled.suite.model_copy(
        update={"distilled": distilled.suite.distilled.model_copy(update={"images_per_class": 3})}
    )
    [cell] = [c for c in distilled.cells if (c.method, c.student, c.seed) == ("random_images", "convnet", 0)]
    assert replace(cell, suite=more).key != cell.key
    assert more.fingerprint != distilled.suite.fingerprint


def test_what_the_cache_has_is_not_made_again_and_what_is_corrupt_is(
    distilled: Ran, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path))
    cell, data, said = distilled.cells[0], load_dataset(distilled.suite.data), []

    def made() -> np.ndarray:
        return distilled_data(cell, data, list, CPU, silent, said.append).pixels.numpy()

    first = made()
    with monkeypatch.context() as patch:
        patch.setattr(Distilling, "run", None)
        assert np.array_equal(made(), first)
    [file] = (tmp_path / "distilled").glob("*.safetensors")
    file.write_bytes(b"broken")
    assert np.array_equal(made(), first)
    assert "made again" in said[0]
    forget(cell, CPU)
    assert not file.exists()


def test_an_interrupted_method_goes_on_where_it_stopped(
    distilled: Ran, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    [cell] = [c for c in distilled.cells if (c.method, c.student, c.seed) == ("dm", "convnet", 0)]
    data, teachers = load_dataset(cell.data), lambda: [distilled.teacher.load(cell.suite)]
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path))
    limit = TimeLimit()

    def stop(done: int, iterations: int, loss: float | None) -> None:
        if loss is not None:
            limit.end_now()

    with pytest.raises(OutOfTime):
        distilled_data(cell, data, teachers, CPU, stop, silent, limit)
    begun: list[int] = []
    made = distilled_data(cell, data, teachers, CPU, lambda done, *_: begun.append(done), silent)
    assert begun == [1, 2]
    assert np.array_equal(made.pixels.numpy(), distilled.entries["dm", "convnet", 0].images)


def test_images_of_another_number_or_without_a_value_are_refused() -> None:
    found = work(Bench(load_method("random_images")))
    images = found.method.images
    found.method.images = images[1:]
    with pytest.raises(TypeError, match=r"random_images.synthetic gives images of shape \(5, 1, 8, 8\)"):
        found.pixels()
    found.method.images = images.clone().fill_(torch.nan)
    with pytest.raises(Diverged, match="not finite"):
        found.pixels()


def test_what_is_made_stays_within_eight_bits() -> None:
    found = work(Bench(load_method("random_images")))
    assert np.array_equal(np.unique(found.pixels().numpy()), np.unique(found.pixels().numpy().clip(0, 255)))
    rows = {image.tobytes() for image in balanced().train_images.numpy()}
    assert all(image.tobytes() in rows for image in found.pixels().numpy())


@pytest.mark.parametrize(
    ("suite", "method", "said"),
    [
        (
            "digits",
            "dc",
            "'dc' distils the training set, and suite 'digits' has no table [distilled]. Run it on such a suite",
        ),
        (
            "digits-distilled",
            "kd",
            "is for methods that distil the training set, and 'kd' teaches a student. Run it on another",
        ),
    ],
)
def test_a_suite_takes_methods_of_its_own_kind(suite: str, method: str, said: str) -> None:
    found = load_suite(suite)
    for check in (lambda: check_kinds(found, [method]), lambda: plan_cells(found, {method: {}}, found.pairs, [0], {})):
        with pytest.raises(KdbenchError) as error:
            check()
        assert said in str(error.value)
        assert "\n" not in str(error.value)
    check_kinds(found, ["vanilla"])


def test_a_run_of_the_other_kind_ends_in_a_line_before_anything_is_trained(here: Command) -> None:
    done = here("run", "-m", "kd", "--suite", "digits-distilled", "--no-mlflow")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) <= 3  # of a hundred columns
    assert "'kd' teaches a student" in " ".join(done.stderr.split())


def test_a_list_for_a_suite_has_the_methods_of_its_kind() -> None:
    assert [runs_on(name, "digits") for name in ("kd", "vanilla", "dm")] == [True, True, False]
    assert [runs_on(name, "digits-distilled") for name in ("kd", "vanilla", "dm")] == [False, True, True]


def test_a_plan_knows_what_making_the_images_takes_and_how_few_a_student_sees(distilled: Ran) -> None:
    suite = distilled.suite
    params, _ = resolve_params(load_method("dm"), suite, suite.pairs[0], {})
    subject = Subject(suite, suite.pairs[0], "dm", params, random_dataset(suite.data), CPU)
    assert time_distilling(subject) > 0
    assert time_distilling(replace(subject, method="random_images", params={})) == 0
    assert len(timed_trainer(subject).labels) == 20
    assert (images_of(suite, "dm"), images_of(suite, "vanilla")) == (20, 1000)


def test_the_step_of_such_a_student_costs_nothing_of_its_own(distilled: Ran) -> None:
    with pytest.raises(KdbenchError, match="a student's step is the plain student's"):
        cost(distilled.suite, {"dm": {}}, distilled.suite.pairs, "cpu", "eager", 1, distilled.runs, Console(), False)
