"""Studies through a Slurm of the test's own: one node, on loopback.

    pytest -n0 -m slurm -s

This installs nothing, needs no root, and does not touch a Slurm that runs on the machine.
"""

import getpass
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from repository import ROOT, Repository, digests

PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
SLURM = (
    *("--workflow-profile", "workflow/profiles/slurm"),
    "--slurm-no-account",
    *("--slurm-status-command", "squeue"),  # there is no accounting
    *("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1"),
)
LONG = {
    "replicates": 1,
    "datasets": {"small": {"source": "digits", "classes": [0, 7], "n": [8], "n_test": 60}},
    "architectures": {"perceptron": {}},
    "samplers": {"rewl": {"min_blocks": 3000, "max_blocks": 3000}},
}
PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "srun")


def which(program: str) -> str | None:
    return shutil.which(program, path=PATH)


MISSING = [program for program in PROGRAMS if which(program) is None]

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed (slurm-wlm, munge): {MISSING}"),
    pytest.mark.skipif(
        find_spec("snakemake_executor_plugin_slurm") is None, reason="needs the extra slurm"
    ),
]

# A node with more processors than there may be: what is tested is not how fast it is.
SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SlurmdParameters=config_overrides
KillWait=10
JobRequeue=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=64000
PartitionName=all Nodes=node Default=YES
PartitionName=urgent Nodes=node PriorityTier=2
"""


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [each.getsockname()[1] for each in sockets]


def wait_until(condition, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.3)


def answer(*command: str) -> str:
    """What a command of Slurm prints, on whichever stream."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return (result.stdout + result.stderr).strip()


def stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cancel_all() -> None:
    answer("scancel", "--user", getpass.getuser())
    wait_until(lambda: not answer("squeue", "--noheader"), 30, "jobs that go on running")


@pytest.fixture(scope="module")
def cluster():
    """A Slurm that all commands talk to while the fixture is in use."""
    with ExitStack() as stack:
        # Not in pytest's folder: its path is too long for that of a socket.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-")))
        folder.chmod(0o755)  # munged insists
        host, user = socket.gethostname().partition(".")[0], getpass.getuser()
        conf = folder / "slurm.conf"
        conf.write_text(SLURM_CONF.format(host=host, user=user, folder=folder, ports=free_ports(2)))
        # The executor starts srun without SLURM_CONF; nodes have their configuration in /etc.
        srun = folder / "bin" / "srun"
        srun.parent.mkdir()
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={conf} exec {which("srun")} "$@"\n')
        srun.chmod(0o755)
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        # The test itself may run in a job of another Slurm.
        for name in [name for name in os.environ if name.startswith(("SLURM", "SBATCH", "SRUN"))]:
            environment.delenv(name)
        environment.setenv("SLURM_CONF", str(conf))
        environment.setenv("PATH", f"{srun.parent}:{PATH}")

        def start(*command: str) -> None:
            log = stack.enter_context(open(folder / f"{command[0]}.log", "w"))
            stack.callback(stop, subprocess.Popen(command, stdout=log, stderr=log))

        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed"}
        options = [f"--{option}={folder}/munge.{suffix}" for option, suffix in files.items()]
        subprocess.run(["mungekey", "--create", f"--keyfile={folder}/munge.key"], check=True)
        try:
            start("munged", "--foreground", f"--log-file={folder}/munge.log", *options)
            wait_until((folder / "munge.socket").exists, 10, "munged does not start")
            start("slurmctld", "-D", "-i")
            start("slurmd", "-D", "-N", "node")
            stack.callback(cancel_all)
            state = ("sinfo", "--noheader", "--format=%t")
            wait_until(lambda: answer(*state) == "idle", 30, "the node is not idle")
        except AssertionError as error:
            logs = [f"{path.name}:\n{path.read_text()}" for path in folder.glob("*.log")]
            pytest.fail("\n".join([str(error), *logs]))
        yield


def finish(study: subprocess.Popen) -> str:
    """Wait for the end of a study, and return what it said."""
    try:
        _, said = study.communicate(timeout=900)
    finally:
        study.kill()
    assert study.returncode == 0, said
    return said


def test_the_smoke_study_is_the_same_through_slurm(cluster, tmp_path):
    config = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
    local, remote = Repository(tmp_path / "local"), Repository(tmp_path / "slurm")
    finish(local.start(config, source=ROOT / "src"))
    said = finish(remote.start(config, *SLURM, cores=None, source=ROOT / "src"))
    results = digests(remote.path / config["results_dir"])
    assert results == digests(local.path / config["results_dir"])
    jobs = len(re.findall("has been submitted with SLURM jobid", said))
    print(f"{jobs} jobs of Slurm, {len(results)} files")
    assert jobs == 7  # of 13: small ones share one


def test_a_job_that_slurm_takes_back_goes_on_where_it_was(cluster, tmp_path):
    run = "small/perceptron/n8/r0/rewl"
    target = ("--", f"results/runs/{run}.nc")
    local, remote = Repository(tmp_path / "local"), Repository(tmp_path / "slurm")
    finish(local.start(LONG, *target, source=ROOT / "src"))
    often = LONG | {"checkpoint_seconds": 0.5}
    study = remote.start(often, *SLURM, *target, cores=None, source=ROOT / "src")
    try:
        results = remote.path / "results"
        kept = results / "checkpoints"
        wait_until(lambda: any(kept.glob("**/*.state")), 300, "there is no checkpoint")
        job = answer("squeue", "--noheader", "--states=running", "--format=%i")
        answer("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=true")
        query = ("squeue", "--noheader", f"--jobs={job}", "--format=%T")
        wait_until(lambda: answer(*query) == "PENDING", 60, "it is not taken back")
        log = results / "logs" / "runs" / f"{run}.log"
        assert "Stopped by SIGTERM: what was done is kept" in log.read_text()
        answer("scontrol", "update", f"JobId={job}", "StartTime=now")  # not in two minutes
    except BaseException:
        study.kill()
        raise
    finish(study)
    assert "Going on from the checkpoint" in log.read_text()
    assert digests(results) == digests(local.path / "results")
