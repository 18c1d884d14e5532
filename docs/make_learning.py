"""Write what the learning pages show: python docs/make_learning.py

leaderboard/data/digits_logits.safetensors: every test image of `digits` with the logits of the suite's teachers, and of
a plain and a distilled student of the first pair (seed 0), which are trained here. A minute on a CPU.

With --classes, instead, cifar100_classes.safetensors: the mean soft target of each class of `cifar100-quarter` under
its teacher, and no image. It reads the names of the classes from the Parquet files in KDBENCH_DATA.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from safetensors.numpy import load_file, save_file

from kdbench.api import run
from kdbench.commands.explain import CPU, teacher_of
from kdbench.data.small import load_data
from kdbench.data.views import SmallImages
from kdbench.records.softening import confusion
from kdbench.running.teachers import Teacher
from kdbench.suite import Suite
from kdbench.suites import load_suite, load_test_labels
from kdbench.training.prediction import predict
from kdbench_leaderboard.learn.soft_targets import AT

DATA = Path(__file__).parents[1] / "leaderboard" / "data"
FILE, CLASSES = DATA / "digits_logits.safetensors", DATA / "cifar100_classes.safetensors"
COMMAND = "python docs/make_learning.py"
STUDENTS = ("vanilla", "kd")


def teacher_logits(suite: Suite, teacher: Teacher) -> np.ndarray:
    """(I, C) float16 logits of the test images."""
    images = SmallImages(suite.data, load_data(suite.data), CPU)
    return predict(teacher.load(suite), images.test(), CPU, suite.teacher_recipe().precision).numpy().astype(np.float16)


def teachers_of(suite: Suite) -> list[Teacher]:
    """The first teacher of each architecture."""
    return [teacher_of(suite, name, None, print) for name in dict.fromkeys(pair.teacher for pair in suite.pairs)]


def student_logits(suite: Suite) -> dict[str, np.ndarray]:
    """(I, C) float16 logits of the students of the first pair, by method."""
    with tempfile.TemporaryDirectory() as folder:
        run(
            STUDENTS[1:],
            suite.name,
            pairs=[str(suite.pairs[0])],
            seeds=1,
            device="cpu",
            workers=1,
            out=folder,
            quiet=True,
        )
        places = {name: next((Path(folder) / suite.name / name).glob("*/logits.safetensors")) for name in STUDENTS}
        return {name: load_file(place)["student"].astype(np.float16) for name, place in places.items()}


def make() -> None:
    suite = load_suite("digits")
    data, teachers = load_data(suite.data), teachers_of(suite)
    arrays = {
        "images": data.test_images[:, 0].numpy(),
        "labels": data.test_labels.numpy().astype(np.uint8),
        **{f"teacher.{t.model}": teacher_logits(suite, t) for t in teachers},
        **{f"student.{name}": logits for name, logits in student_logits(suite).items()},
    }
    about = {
        "suite": suite.name,
        "fingerprint": suite.fingerprint,
        "pair": str(suite.pairs[0]),
        "teachers": {t.model: t.sha256 for t in teachers},
    }
    save_file(arrays, FILE, metadata={"about": json.dumps(about)})


def make_classes() -> None:
    suite = load_suite("cifar100-quarter")
    teacher = teacher_of(suite, None, None, print)
    labels = load_test_labels(suite)
    table = confusion(teacher_logits(suite, teacher).astype(np.float64), labels, AT)
    about = {
        "suite": suite.name,
        "teacher": teacher.model,
        "sha256": teacher.sha256,
        "temperature": AT,
        "names": class_names("cifar100", "fine_label"),
    }
    save_file({"table": table.astype(np.float16)}, CLASSES, metadata={"about": json.dumps(about)})


def class_names(folder: str, column: str) -> list[str]:
    """The names that a data set's files give to its classes."""
    file = next((Path(os.environ["KDBENCH_DATA"]) / folder).glob("test*.parquet"))
    metadata = json.loads(pq.read_schema(file).metadata[b"huggingface"])
    return [name.replace("_", " ") for name in metadata["info"]["features"][column]["names"]]


if __name__ == "__main__":
    make_classes() if "--classes" in sys.argv[1:] else make()
