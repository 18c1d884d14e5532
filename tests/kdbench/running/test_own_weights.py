"""Teachers with weights of one's own: evaluated, keyed by content, without a path on any record."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from kdbench.cache import cache_folder
from kdbench.data.access import load_dataset
from kdbench.errors import KdbenchError
from kdbench.hashing import file_sha256
from kdbench.networks.build import build_network
from kdbench.records.store import Entry
from kdbench.running.cell import run_cell
from kdbench.running.own_weights import with_own_weights
from kdbench.running.plan import plan_cells, plan_teacher
from kdbench.running.teachers import Teacher, find_teacher, half_precision_weights
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.training.prediction import predict

CPU = torch.device("cpu")


def silent(*arguments: object) -> None:
    pass


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))


def suite_with(small_suite: Path, weights: str) -> Suite:
    text = small_suite.read_text().partition("[weights]")[0]
    small_suite.write_text(f"{text}\n[weights]\nresnet8 = {{ {weights} }}\n")
    return load_suite(str(small_suite))


def saved(suite: Suite, path: Path, seed: int = 3) -> torch.nn.Module:
    network = build_network(suite, "resnet8", seed)
    torch.save({"model": {f"module.{k}": v for k, v in network.state_dict().items()}}, path)
    return network


def evaluated(suite: Suite) -> Teacher:
    """The teacher of a bound suite, evaluated here."""
    run_cell(plan_teacher(suite, "resnet8"), cache_folder(), CPU, silent, silent)
    teacher = find_teacher(suite, "resnet8", None, print)
    assert teacher is not None
    return teacher


def student_cell(suite: Suite, teacher: Teacher, root: Path, method: str = "kd") -> Entry:
    [cell] = plan_cells(suite, {method: {}}, suite.pairs, [0], {"resnet8": teacher})
    done = run_cell(cell, root, CPU, silent, silent)
    assert done is not None
    return done[0]


def test_a_file_beside_the_suite_is_the_teacher_measured_and_not_trained(small_suite: Path, tmp_path: Path) -> None:
    plain = load_suite(str(small_suite))
    network = saved(plain, tmp_path / "mine.pth")
    suite = with_own_weights(suite_with(small_suite, 'file = "mine.pth"'))
    assert suite.fingerprint == plain.fingerprint
    assert suite.weights["resnet8"].sha256 == file_sha256(tmp_path / "mine.pth")
    assert find_teacher(suite, "resnet8", None, print) is None  # neither the one that a suite's recipe would train
    (tmp_path / "mine.pth").unlink()  # it is in the cache
    teacher = evaluated(suite)
    wanted = half_precision_weights(network)
    assert all(torch.equal(value, wanted[name].float()) for name, value in teacher.load(suite).state_dict().items())
    data = load_dataset(suite.data)
    logits = predict(network, data.inputs(suite.data, 100, CPU).test(), CPU, "float32")
    top1 = 100 * (logits.argmax(1) == data.test_labels).float().mean().item()
    assert teacher.record.main.metrics.top1 == pytest.approx(top1, abs=1e-4)
    assert teacher.record.main.origin == "weights of its own"
    assert teacher.record.curve == {}
    entry = student_cell(suite, teacher, tmp_path / "runs")
    assert [ref.origin for ref in entry.record.teachers] == ["weights of its own"]
    for record in (teacher.record, entry.record):
        assert "mine.pth" not in record.to_json()
        assert str(tmp_path) not in record.to_json()


def test_the_key_has_the_content_not_the_name(small_suite: Path, tmp_path: Path) -> None:
    plain = load_suite(str(small_suite))
    saved(plain, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes((tmp_path / "a.pth").read_bytes())
    saved(plain, tmp_path / "c.pth", seed=4)
    suites = [plain, *(with_own_weights(suite_with(small_suite, f'file = "{name}.pth"')) for name in "abc")]
    of_none, a, b, c = (plan_teacher(suite, "resnet8").key for suite in suites)
    assert a == b
    assert len({of_none, a, c}) == 3
    one, other = evaluated(suites[1]), evaluated(suites[3])
    assert one.sha256 != other.sha256
    again = find_teacher(suites[2], "resnet8", None, print)
    assert again is not None
    assert again.sha256 == one.sha256


def test_a_distilled_student_is_the_next_teacher(small_suite: Path, tmp_path: Path) -> None:
    text = small_suite.read_text()
    plain = load_suite(str(small_suite))
    saved(plain, tmp_path / "mine.pth")
    suite = with_own_weights(suite_with(small_suite, 'file = "mine.pth"'))
    entry = student_cell(suite, evaluated(suite), tmp_path / "runs")
    small_suite.write_text(text.replace('"resnet8:resnet8_w2"', '"resnet8_w2:resnet8"').replace("resnet8 = [", "x = ["))
    place = entry.folder.relative_to(tmp_path)
    small_suite.write_text(f'{small_suite.read_text()}\n[weights]\nresnet8_w2 = {{ record = "{place}" }}\n')
    following = with_own_weights(load_suite(str(small_suite)))
    run_cell(plan_teacher(following, "resnet8_w2"), cache_folder(), CPU, silent, silent)
    teacher = find_teacher(following, "resnet8_w2", None, print)
    assert teacher is not None
    assert teacher.record.main.origin == f"student of kd (record {entry.record.key[:16]})"
    assert abs(teacher.record.main.metrics.top1 - entry.record.main.metrics.top1) < 1  # of rounded weights
    [weights] = entry.folder.glob("resnet8_w2-*")
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(KdbenchError, match=r"the weights of 'resnet8_w2' in .* are missing or corrupt"):
        with_own_weights(load_suite(str(small_suite)))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("stated", [False, True])
def test_an_address_is_fetched_and_evaluated_with_or_without_its_hash(
    stated: bool, small_suite: Path, tmp_path: Path, address: str
) -> None:
    plain = load_suite(str(small_suite))
    saved(plain, tmp_path / "mine.pth")
    sha256 = file_sha256(tmp_path / "mine.pth")
    given = f'address = "{address}/mine.pth"' + (f', sha256 = "{sha256}"' if stated else "")
    suite = suite_with(small_suite, given)
    assert with_own_weights(suite, download=False) == suite
    suite = with_own_weights(suite)
    assert suite.weights["resnet8"].sha256 == sha256
    teacher = evaluated(suite)
    assert teacher.record.main.origin == "weights of its own"
    assert find_teacher(with_own_weights(suite), "resnet8", None, print) is not None
    assert address not in teacher.record.to_json()


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ('file = "none.pth"', "weights.resnet8: cannot read none.pth: No such file"),
        (f'file = "mine.pth", sha256 = "{"0" * 64}"', "mine.pth has sha256 [0-9a-f]{64}, not the suite's 0000"),
        ('record = "runs/nothing"', "there is no record.json in runs/nothing: give the folder of a record"),
        ('file = "mine.pth", address = "http://x.y/z"', "give a file, an address or a record"),
        ("", "give a file, an address or a record"),
    ],
)
def test_weights_that_are_not_there_are_one_line(weights: str, said: str, small_suite: Path, tmp_path: Path) -> None:
    saved(load_suite(str(small_suite)), tmp_path / "mine.pth")
    with pytest.raises(KdbenchError, match=said) as caught:
        with_own_weights(suite_with(small_suite, weights))
    assert "\n" not in str(caught.value)


def test_weights_beyond_half_precision_are_refused(small_suite: Path, tmp_path: Path) -> None:
    state = build_network(load_suite(str(small_suite)), "resnet8").state_dict()
    torch.save({**state, "fc.bias": torch.full((10,), 1e5)}, tmp_path / "mine.pth")
    suite = with_own_weights(suite_with(small_suite, 'file = "mine.pth"'))
    with pytest.raises(KdbenchError, match=r"mine.pth: fc.bias is beyond half precision"):
        evaluated(suite)


def test_weights_of_another_network_are_one_line_with_file_and_model(small_suite: Path, tmp_path: Path) -> None:
    plain = load_suite(str(small_suite))
    torch.save(build_network(plain, "resnet8_w2").state_dict(), tmp_path / "small.pth")
    suite = with_own_weights(suite_with(small_suite, 'file = "small.pth"'))
    with pytest.raises(KdbenchError, match=r"resnet8: .*small.pth does not fit 'resnet8': shapes differ: conv1"):
        evaluated(suite)
