"""Cells in jobs of a real SLURM: a controller and a node of this computer, started for the tests."""

from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kdbench.commands.resuming import is_begun
from kdbench.errors import KdbenchError
from kdbench.records.store import Entry, read_cell, read_runs
from kdbench.running.engines import local
from kdbench.running.engines.events import Failed, Finished, Machine, Progressed, Stopped
from kdbench.suite import Suite
from tests.kdbench.running.engines.clusters import cells_of, evidence

pytest.importorskip("submitit", reason="submitit is not installed: pip install 'kdbench[slurm]'")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "mungekey")
MUNGE_FILES = ("socket", "pid-file", "log-file", "seed-file")
CONF = """
ClusterName=kdbench
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
SwitchType=switch/none
SchedulerParameters=sched_interval=2,batch_sched_delay=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A controller and a node, by SLURM's own programs; the path of their configuration."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"no {missing[0]} here: apt-get install slurmctld slurmd slurm-client munge")
    if os.geteuid():
        pytest.skip("SLURM's programs are started by root")
    folder = tmp_path_factory.mktemp("slurm")
    conf = folder / "slurm.conf"
    base = 20_000 + os.getpid() % 20_000
    conf.write_text(CONF.format(host=platform.node().split(".")[0], folder=folder, port=base, node_port=base + 1))
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    subprocess.run(["mungekey", "-c", "-k", key], check=True)
    files = [
        f"--{name}={folder}/munge.{name.split('-')[0]}" for name in ("socket", "pid-file", "log-file", "seed-file")
    ]
    daemons = [
        subprocess.Popen(command)
        for command in (
            ["munged", "--force", "--foreground", f"--key-file={key}", *files],
            ["slurmctld", "-D", "-f", conf],
            ["slurmd", "-D", "-f", conf],
        )
    ]
    patch = pytest.MonkeyPatch()
    patch.setenv("SLURM_CONF", str(conf))
    deadline = time.monotonic() + 60
    asked = ["sinfo", "-h", "-o", "%T"]
    while "idle" not in (said := subprocess.run(asked, capture_output=True, text=True, check=False)).stdout:
        if time.monotonic() > deadline:
            pytest.skip(f"SLURM does not start here: {said.stdout}{said.stderr}")
        time.sleep(1)
    yield conf
    subprocess.run(["scancel", "--me"], check=False)
    patch.undo()
    for daemon in reversed(daemons):
        daemon.terminate()
        daemon.wait(timeout=60)


def jobs() -> int:
    """How many jobs are there."""
    said = subprocess.run(["squeue", "-h", "-r", "-o", "%i"], capture_output=True, text=True, check=True)
    return len(said.stdout.split())


def wait_for(condition: Callable[[], Any], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def on_cluster(**changes: Any) -> Machine:
    return replace(Machine(["auto"], 1, engine="slurm", options={"time": "1m"}), **changes)


def test_records_have_the_predictions_of_the_local_engine(slurm: Path, digits: Suite, tmp_path: Path) -> None:
    from kdbench.running.engines import on_slurm

    cells = cells_of(digits, 5, 1)
    events = list(on_slurm.execute(cells, tmp_path / "slurm", on_cluster()))
    assert not [e for e in events if isinstance(e, Failed)]
    assert {e.where for e in events if isinstance(e, Progressed)} == {platform.node()}
    here = list(local.execute(cells, tmp_path / "local", Machine(["cpu"], 1)))
    assert evidence(events) == evidence(here)
    assert len(evidence(here)) == 2
    assert not list((tmp_path / "slurm" / ".slurm").iterdir())


@pytest.mark.timeout(1500)
def test_a_job_whose_time_is_shorter_than_the_work_goes_back_into_the_queue(
    slurm: Path, digits: Suite, tmp_path: Path
) -> None:
    from kdbench.running.engines import on_slurm

    [short, _] = cells_of(digits, 20, 1)
    [*_, done] = local.execute([short], tmp_path / "local", Machine(["cpu"], 1))
    assert isinstance(done, Finished)
    cost = read_cell(done.folder).record.cost
    assert cost is not None
    [cell, _] = cells_of(digits, int(20 * 60 / cost.train_seconds), 1)  # 60 seconds of work in jobs of at most 54
    events = list(on_slurm.execute([cell], tmp_path / "slurm", on_cluster()))
    assert [e for e in events if isinstance(e, Stopped)]
    assert isinstance(events[-1], Finished)
    begun = [e.epochs_done for e in events if isinstance(e, Progressed) and e.loss is None]
    assert begun[0] == 0 < begun[1]  # it went on where it stopped
    ended = [e.epochs_done for e in events if isinstance(e, Progressed) and e.loss is not None]
    assert ended == sorted(set(ended))  # nothing was trained twice


def test_a_parent_that_was_killed_finds_its_jobs_and_starts_none_twice(slurm: Path, tmp_path: Path) -> None:
    options = ["run", "-m", "vanilla", "--pair", "resnet8:resnet8_w8", "--seeds", "2", "--epochs", "300", "--no-mlflow"]
    command = [sys.executable, "-m", "kdbench", *options, "--engine", "slurm", "--workers", "1"]
    first = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: list((tmp_path / "runs").rglob("*.partial")))
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert jobs() == 1
    second = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    most = 0
    while second.poll() is None:
        most = max(most, jobs())
        time.sleep(1)
    assert second.stdout is not None
    said = second.stdout.read()
    assert second.returncode == 0, said
    assert most == 1
    told = " ".join(said.split())
    assert re.search(r"of an earlier command are there: their [12] cells are not started again", told)
    assert f"vanilla resnet8_w8 seed 1 on {platform.node()}" in told
    assert len([e for e in read_runs(tmp_path / "runs") if isinstance(e, Entry)]) == 2
    assert not list((tmp_path / "runs").rglob("*.aside-*"))


def test_a_failed_cell_is_alone_and_jobs_end_with_the_command(slurm: Path, digits: Suite, tmp_path: Path) -> None:
    from kdbench.running.engines import on_slurm

    cells = cells_of(digits, 100, 1)
    broken = replace(cells[1], params={"temperature": "hot"})
    events = []
    running = on_slurm.execute([broken, cells[0]], tmp_path, on_cluster())
    for event in running:
        events.append(event)
        if isinstance(event, Progressed) and is_begun(cells[0], tmp_path):
            running.close()  # as Ctrl-C does
    [failed] = [e for e in events if isinstance(e, Failed)]
    assert failed.cell.key == broken.key
    assert "Traceback" in failed.details
    wait_for(lambda: jobs() == 0, 60)
    assert list(tmp_path.rglob("*.partial/checkpoint-*"))


def test_what_sbatch_refuses_is_one_line(slurm: Path, digits: Suite, tmp_path: Path) -> None:
    from kdbench.running.engines import on_slurm

    cells = cells_of(digits, 2, 1)
    with pytest.raises(KdbenchError, match=r"SLURM takes no jobs: .*partition.*See --engine-option"):
        list(on_slurm.execute(cells, tmp_path, on_cluster(options={"partition": "nowhere"})))
    with pytest.raises(KdbenchError, match="--engine-option array: kdbench sets it itself"):
        list(on_slurm.execute(cells, tmp_path, on_cluster(options={"array": "1-2"})))
    with pytest.raises(KdbenchError, match="--engine-option time=soon: give hours, minutes or seconds"):
        list(on_slurm.execute(cells, tmp_path, on_cluster(options={"time": "soon"})))
    assert jobs() == 0
