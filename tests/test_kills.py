"""Kills at random moments of a study with every sampler: nothing is lost and nothing changes.

pytest -n0 -m kills -s
"""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from repository import ROOT, Repository, digests

KILLS = 50
CONFIG = {
    "replicates": 1,
    "checkpoint_seconds": 0.2,
    "datasets": {
        "small": {
            "source": "digits",
            "classes": [0, 7],
            "n": [4, 8],
            "n_test": 60,
            "n_validation": 4,
        }
    },
    "architectures": {"tiny": {"layers": ["pool", "pool", "linear 4"]}},  # 24 weights
    "samplers": {
        "gd": {"networks": 3, "max_epochs": 1500, "extra_epochs": 1500},
        "sgd": {"networks": 3, "max_epochs": 1000, "extra_epochs": 1000},
        "sam": {"networks": 3, "max_epochs": 600, "extra_epochs": 600},
        "guess_and_check": {"hits": 1_000_000, "max_guesses": 3_000_000},
        "enumerate": {},
        "rewl": {"min_blocks": 40, "max_blocks": 60},
        "joint": {"members": 50, "max_anneals": 2, "tail_error": 1e-6},
    },
}


def scripts_of(group: int) -> list[int]:
    """The processes of a group that run a script of the workflow."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            shell = command.startswith((b"/bin/bash", b"bash", b"/bin/sh"))
            ours = os.getpgid(int(folder.name)) == group
            if ours and not shell and b".snakemake/scripts" in command:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.kills
def test_fifty_kills_change_nothing(tmp_path):
    undisturbed = Repository(tmp_path / "undisturbed")
    result = undisturbed.snakemake(CONFIG, source=ROOT / "src")
    assert result.returncode == 0, result.stdout + result.stderr
    expected = digests(undisturbed.path / "results")
    assert sum(name.startswith("runs/") for name in expected) == 14

    killed = Repository(tmp_path / "killed")
    results = killed.path / "results"
    chance = random.Random(2026)
    kills = resumed = finished = 0
    while True:
        study = killed.start(
            CONFIG,
            "--keep-going",
            source=ROOT / "src",
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while kills < KILLS:
            while study.poll() is None and not scripts_of(study.pid):
                time.sleep(0.05)
            try:
                study.wait(timeout=chance.uniform(0, 4))
                break
            except subprocess.TimeoutExpired:
                pass
            victims = scripts_of(study.pid)
            kills += 1
            if victims and chance.random() < 0.7:
                os.kill(chance.choice(victims), signal.SIGKILL)
            else:  # as if the machine went down
                os.killpg(study.pid, signal.SIGKILL)
                study.wait()
                unlocked = killed.snakemake(CONFIG, "--unlock", source=ROOT / "src")
                assert unlocked.returncode == 0, unlocked.stderr
        status = study.wait()
        logs = [path.read_text() for path in (results / "logs").rglob("*.log")]
        resumed += sum("Going on from the checkpoint" in log for log in logs)
        print(f"{kills} kills, {resumed} times gone on from a checkpoint, status {status}")
        if status == 0:
            finished += 1
            assert digests(results) == expected
            assert not list(results.rglob("*.aside"))
            if kills == KILLS:
                break
            shutil.rmtree(results)
    print(f"{KILLS} kills, {finished} studies finished")
    assert resumed >= 5
