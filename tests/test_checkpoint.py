"""Checkpoints: nothing is lost, nothing foreign is used, and no result depends on them."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from volumetry.benchmark.synthetic import make_examples, make_network
from volumetry.datasets.matrix_sensing import Options, measure
from volumetry.networks.real import build_real_network
from volumetry.runtime import checkpoint, netcdf
from volumetry.runtime.checkpoint import Checkpoint, CheckpointError, digest, watch
from volumetry.study.registry import METHODS, find
from volumetry.systems.classification import Problem
from volumetry.systems.sensing import SensingProblem

SMALL = {
    "gd": {"networks": 3, "max_epochs": 60, "extra_epochs": 5, "learning_rate": 0.01},
    "sgd": {"networks": 3, "max_epochs": 60, "extra_epochs": 5, "learning_rate": 0.01},
    "sam": {"networks": 3, "max_epochs": 60, "extra_epochs": 5, "learning_rate": 0.01},
    "sensing_gd": {"networks": 3, "max_epochs": 500, "learning_rate": 0.01},
    "guess_and_check": {"hits": 10_000, "max_guesses": 60_000},
    "enumerate": {"max_weights": 20},
    "rewl": {"rung_sweeps": 0.2, "learning_sweeps": 6, "min_blocks": 4, "max_blocks": 8},
    "population_annealing": {"members": 12, "guides": 4, "max_anneals": 3, "ln_v_error": 1e-6},
    "joint": {
        "members": 6,
        "populations": 2,
        "guides": 4,
        "rung_sweeps": 0.5,
        "max_anneals": 2,
        "tail_error": 1e-6,
    },
}


class Killed(Exception):
    """In place of a kill."""


class Mortal(Checkpoint):
    """Writes at every opportunity, and dies after so many."""

    def __init__(self, path, lives, key="key"):
        super().__init__(path, key, seconds=0)
        self.lives = lives

    def add(self, make_record, make_state):
        super().add(make_record, make_state)
        self.spend()

    def keep(self, state):
        super().keep(state)
        self.spend()

    def spend(self):
        self.lives -= 1
        if self.lives == 0:
            self._records.close()  # and with it the lock, as a kill would
            self._path = None
            raise Killed


@pytest.fixture(scope="module")
def problem():
    x, y = make_examples(48, 4, 2, seed=3)
    network = make_network(["pool", "linear 3"], 4, 2)  # 18 weights
    return Problem(network, x[:8], y[:8], x[8:32], y[8:32], x[32:], y[32:])


def problem_of(sampler, classified):
    """The problem given, or for a sampler of matrix sensing alone one of that."""
    if "classification" in METHODS[sampler].systems:
        return classified
    drawn = measure(Options(4, 3), 2)
    network = build_real_network(
        ["linear 4"], (3,), 4, prior="gaussian", scale="fan_out", activation="linear"
    )
    return SensingProblem.of(network, drawn.truth, drawn.matrices[:7], 0.02)


@pytest.fixture(scope="module")
def sources(problem):
    kind, run = find("gd").load()
    return {"gd": run(problem, kind(**SMALL["gd"]), 7)}


def run(sampler, problem, sources, checkpoint=None, **parameters):
    kind, function = find(sampler).load()
    given = {"sources": sources} if sampler == "joint" else {}
    settings = kind(**SMALL[sampler] | parameters)
    return function(problem, settings, 11, checkpoint=checkpoint, **given)


def same_bytes(a: xr.Dataset, b: xr.Dataset, folder: Path):
    netcdf.write(a, folder / "a.nc")
    netcdf.write(b, folder / "b.nc")
    return (folder / "a.nc").read_bytes() == (folder / "b.nc").read_bytes()


@pytest.mark.parametrize(
    "sampler",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "joint")) for name in METHODS],
)
def test_a_run_killed_again_and_again_gives_the_same_bytes(sampler, problem, sources, tmp_path):
    problem = problem_of(sampler, problem)
    undisturbed = run(sampler, problem, sources)
    deaths, lives = 0, 1
    while True:
        try:
            with Mortal(tmp_path / "job", lives) as checkpoint:
                resumed = run(sampler, problem, sources, checkpoint)
            break
        except Killed:
            deaths, lives = deaths + 1, lives % 7 + 1
    assert deaths >= 4
    assert same_bytes(undisturbed, resumed, tmp_path)


@pytest.mark.parametrize(
    ("sampler", "less"),
    [
        ("rewl", {"max_blocks": 5}),
        pytest.param("joint", {"max_anneals": 1}, marks=pytest.mark.slow),
        ("population_annealing", {"max_anneals": 2}),
        ("guess_and_check", {"max_guesses": 10_000}),
        ("gd", {"max_epochs": 4}),
    ],
)
def test_a_finished_run_is_extended_and_cut(sampler, less, problem, sources, tmp_path):
    def go(**parameters):
        with Checkpoint(tmp_path / "job", "key", seconds=0) as checkpoint:
            return run(sampler, problem, sources, checkpoint, **parameters)

    short, long = (run(sampler, problem, sources, **asked) for asked in (less, {}))
    assert not short.identical(long)
    assert same_bytes(go(**less), short, tmp_path)
    size = (tmp_path / "job.records").stat().st_size
    assert same_bytes(go(), long, tmp_path)
    if sampler in ("rewl", "joint", "population_annealing"):
        assert (tmp_path / "job.records").stat().st_size > size
    assert same_bytes(go(**less), short, tmp_path)


def record(value):
    return {"value": np.full(1000, value)}


def filled(path, key="key", count=3):
    checkpoint = Checkpoint(path, key, seconds=0)
    for value in range(count):
        checkpoint.add(lambda value=value: record(value), lambda value=value: record(10 + value))
    checkpoint.close()


def recalled(path, key="key"):
    checkpoint = Checkpoint(path, key)
    values = []
    while (found := checkpoint.recall()) is not None:
        values.append(int(found["value"][0]))
    state = checkpoint.state
    checkpoint.close()
    return values, int(state["value"][0]) if state else None


def test_records_come_back_in_order_with_the_last_state(tmp_path):
    filled(tmp_path / "deep" / "job")
    assert recalled(tmp_path / "deep" / "job") == ([0, 1, 2], 12)


def test_what_takes_less_than_the_interval_leaves_nothing(tmp_path):
    checkpoint = Checkpoint(tmp_path / "job", "key", seconds=1000)
    checkpoint.add(lambda: record(0), dict)
    assert not checkpoint.due()
    checkpoint.close()
    assert list(tmp_path.iterdir()) == []


def test_the_time_that_led_to_a_checkpoint_counts(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("volumetry.runtime.checkpoint.time.monotonic", lambda: clock[0])
    checkpoint = Checkpoint(tmp_path / "job", "key", seconds=0)
    clock[0] = 70.0
    checkpoint.add(lambda: record(0), lambda: record(10))
    clock[0] = 75.0  # and a kill
    assert checkpoint.spent == 75
    checkpoint._records.close()
    for spent in (70, 71):
        clock[0] = 1000.0
        checkpoint = Checkpoint(tmp_path / "job", "key", seconds=0)
        clock[0] = 1001.0
        assert checkpoint.recall() is not None and checkpoint.spent == spent + 1
        checkpoint.close()


@pytest.mark.parametrize("seconds", [0, 1000])
def test_a_signal_after_the_work_changes_nothing(seconds, tmp_path):
    checkpoint = Checkpoint(tmp_path / "job", "key", seconds)
    checkpoint.add(lambda: record(0), lambda: record(10))
    checkpoint.close()
    assert checkpoint.stop() == (seconds == 0)
    assert recalled(tmp_path / "job") == (([0], 10) if seconds == 0 else ([], None))


@pytest.mark.parametrize("ending", [".records", ".state"])
@pytest.mark.parametrize("harm", ["cut", "empty", "flip", "foreign"])
def test_a_damaged_checkpoint_is_set_aside(ending, harm, tmp_path, capsys):
    filled(tmp_path / "job")
    file = tmp_path / f"job{ending}"
    content = bytearray(file.read_bytes())
    if harm == "cut":
        del content[-10:]
    elif harm == "empty":
        content.clear()
    elif harm == "flip":
        content[-10] ^= 1
    else:
        content[:] = b"something else entirely" * 100
    file.write_bytes(content)
    assert recalled(tmp_path / "job") == ([], None)
    assert "set aside (.aside); starting afresh" in capsys.readouterr().err
    assert (tmp_path / f"job{ending}.aside").read_bytes() == content
    filled(tmp_path / "job")
    assert recalled(tmp_path / "job") == ([0, 1, 2], 12)


def test_a_checkpoint_of_other_inputs_is_set_aside(tmp_path, capsys):
    filled(tmp_path / "job")
    assert recalled(tmp_path / "job", key="another") == ([], None)
    assert "other inputs, parameters or code" in capsys.readouterr().err
    assert (tmp_path / "job.state.aside").exists()


def test_records_that_no_state_confirms_are_forgotten(tmp_path):
    filled(tmp_path / "job")
    old = (tmp_path / "job.state").read_bytes()
    checkpoint = Checkpoint(tmp_path / "job", "key", seconds=0)
    while checkpoint.recall() is not None:
        pass
    checkpoint.add(lambda: record(3), lambda: record(13))
    checkpoint.close()
    (tmp_path / "job.state").write_bytes(old)  # as if killed between the two files
    assert recalled(tmp_path / "job") == ([0, 1, 2], 12)
    checkpoint = Checkpoint(tmp_path / "job", "key", seconds=0)
    while checkpoint.recall() is not None:
        pass
    checkpoint.add(lambda: record(30), lambda: record(40))
    checkpoint.close()
    assert recalled(tmp_path / "job") == ([0, 1, 2, 30], 40)


def test_two_processes_do_not_share_a_checkpoint(tmp_path):
    holder = Checkpoint(tmp_path / "job", "key")
    with pytest.raises(CheckpointError, match="in use by another process"):
        Checkpoint(tmp_path / "job", "key")
    holder.close()
    Checkpoint(tmp_path / "job", "key").close()


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_job(tmp_path, capsys, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "job", "key", seconds=0)
    checkpoint.add(lambda: record(0), lambda: record(10))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
        checkpoint.add(lambda: record(1), lambda: record(11))
        checkpoint.add(lambda: record(2), lambda: record(12))
    assert capsys.readouterr().err.count("No space left") == 1
    checkpoint.add(lambda: record(3), lambda: record(13))
    checkpoint.close()
    assert recalled(tmp_path / "job") == ([0, 1, 2, 3], 13)


def test_objects_are_neither_stored_nor_read():
    objects = np.array([{}], object)
    with pytest.raises(ValueError, match="allow_pickle"):
        checkpoint._pack({"value": objects})
    content = io.BytesIO()
    np.savez(content, value=objects)
    content = content.getvalue()
    head = checkpoint._LENGTH.pack(len(content)) + hashlib.sha256(content).digest()
    with pytest.raises(ValueError, match="allow_pickle"):
        checkpoint._read_record(io.BytesIO(head + content))


def test_digests_tell_apart_what_differs():
    array = np.arange(6)
    different = [
        (array,),
        (array.astype(np.int32),),
        (array.reshape(2, 3),),
        (array[::-1],),
        (array, array),
        ({"a": 1}, array),
        ({"a": 2}, array),
    ]
    assert len({digest(*parts) for parts in different}) == len(different)
    assert digest(array, [1, "x"]) == digest(array.copy(), [1, "x"])


JOB = """
import sys, time
import numpy as np
from volumetry.runtime.checkpoint import Checkpoint, watch
mode, path = sys.argv[1:]
checkpoint = Checkpoint(path, "key", seconds=1000)
watch(checkpoint)
if mode == "add":
    checkpoint.add(lambda: {"value": np.full(9, 5)}, lambda: {"value": np.full(9, 15)})
print("ready", flush=True)
if mode == "poll":
    while not checkpoint.due():
        time.sleep(0.1)
    checkpoint.keep({"value": np.full(9, 25)})
np.linalg.svd(np.ones((50, 50)))
while True:
    sum(range(10**6))
"""


@pytest.mark.parametrize(
    ("mode", "kept", "number"),
    [
        ("add", ([5], 15), signal.SIGTERM),
        ("add", ([5], 15), signal.SIGUSR1),
        ("poll", ([], 25), signal.SIGINT),
        ("poll", ([], 25), signal.SIGTERM),
        pytest.param("none", ([], None), signal.SIGUSR1, marks=pytest.mark.slow),  # after 8 s
    ],
)
def test_a_signal_ends_a_job_after_keeping_what_there_is(mode, kept, number, tmp_path):
    command = [sys.executable, "-c", JOB, mode, tmp_path / "job"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as job:
        assert job.stdout.readline() == b"ready\n"
        time.sleep(0.2)
        sent = time.monotonic()
        job.send_signal(number)
        said = job.communicate(timeout=60)[1].decode()
        assert time.monotonic() - sent < 10
    assert job.returncode == 128 + number
    assert f"Stopped by {signal.Signals(number).name}" in said
    assert ("is kept, run again" in said) == (kept[1] is not None)
    assert recalled(tmp_path / "job") == kept


LONG = {
    "sensing_gd": {"max_epochs": 20_000, "final_loss": 1e-30},
    "gd": {"max_epochs": 800, "extra_epochs": 800},
    "sgd": {"max_epochs": 500, "extra_epochs": 500},
    "sam": {"max_epochs": 300, "extra_epochs": 300},
    "guess_and_check": {"hits": 10**9, "max_guesses": 1_000_000},
    "enumerate": {"max_weights": 30},
    "rewl": {"min_blocks": 150, "max_blocks": 150, "block_sweeps": 20},
    "population_annealing": {"rung_sweeps": 100, "max_anneals": 3, "ln_v_error": 1e-6},
    "joint": {"rung_sweeps": 50, "max_anneals": 2, "tail_error": 1e-6},
}


class Signalled(Checkpoint):
    """Sends SIGTERM to its own process at the third opportunity to write."""

    opportunities = 0

    def add(self, make_record, make_state):
        super().add(make_record, make_state)
        self.count()

    def due(self):
        self.count()
        return super().due()

    def count(self):
        self.opportunities += 1
        if self.opportunities == 3:
            print("signalled", flush=True)
            os.kill(os.getpid(), signal.SIGTERM)


def long_job(sampler: str, folder: str, signalled: bool) -> None:
    """Run a sampler for a while, with a checkpoint that only a signal writes."""
    x, y = make_examples(48, 4, 2, seed=3)
    network = make_network(["pool", "linear 3"], 4, 2)  # 18 weights
    problem = Problem(network, x[:8], y[:8], x[8:32], y[8:32], x[32:], y[32:])
    problem = problem_of(sampler, problem)
    kind = Signalled if signalled else Checkpoint
    checkpoint = kind(Path(folder) / "job", "key", seconds=1e9)
    watch(checkpoint)
    kind, function = find(sampler).load()
    settings = kind(**SMALL[sampler] | LONG[sampler])
    result = function(problem, settings, 11, checkpoint=checkpoint)
    netcdf.write(result, Path(folder) / "result.nc")


@pytest.mark.parametrize(
    "sampler",
    # Three processes each; that records of every sampler are recalled is tested above, in one.
    [pytest.param(each, marks=[pytest.mark.slow] * (each != "rewl")) for each in METHODS],
)
def test_a_sampler_stopped_by_a_signal_goes_on_and_gives_the_same(sampler, tmp_path):
    def start(folder, signalled=False):
        folder.mkdir(exist_ok=True)
        job = f"long_job({sampler!r}, {str(folder)!r}, {signalled})"
        code = f"from test_checkpoint import long_job; {job}"
        return subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent,
        )

    undisturbed, stopped = tmp_path / "undisturbed", tmp_path / "stopped"
    with start(undisturbed) as job:
        _, said = job.communicate()
        assert job.returncode == 0, said
    with start(stopped, signalled=True) as job:
        assert job.stdout.readline() == "signalled\n"
        sent = time.monotonic()
        _, said = job.communicate(timeout=60)
        assert time.monotonic() - sent < 10
        assert job.returncode == 128 + signal.SIGTERM
        assert "what was done is kept" in said
    with start(stopped) as job:
        _, said = job.communicate()
        assert job.returncode == 0, said
        assert "Going on from the checkpoint" in said
    assert (stopped / "result.nc").read_bytes() == (undisturbed / "result.nc").read_bytes()
