"""The monitor tells every state from files alone, never fails on them, and leaves them alone."""

import os
import random
import re
import subprocess
import sys
import time

import pytest
from monitored import CONFIG, NOTE, PROGRESS, mixed, results, run_of

from volumetry.monitor import terminal, words
from volumetry.monitor.state import UNREADABLE, Job, Reader, time_left
from volumetry.runtime.progress import Line, Progress, parse
from volumetry.study.grid import Run, grid

# ---- states --------------------------------------------------------------------------------------


def test_every_state_is_told_from_the_files(mixed):
    snapshot = Reader(mixed.folder).read()
    assert {job.run: job.state for job in snapshot.runs} == {
        run_of("gd"): "done",
        run_of("gd", 8): "done",
        run_of("gd", 4, 1): "done",
        run_of("gd", 8, 1): "failed",
        run_of("guess_and_check"): "done",
        run_of("guess_and_check", 8): "waiting",
        run_of("guess_and_check", 4, 1): "waiting",
        run_of("guess_and_check", 8, 1): "waiting",
        run_of("rewl"): "done",
        run_of("rewl", 8): "running",
        run_of("rewl", 4, 1): "stalled",
        run_of("rewl", 8, 1): "failed",
    }
    assert {job.run: job.verdict for job in snapshot.runs if job.verdict} == {
        run_of("gd"): "converged",
        run_of("gd", 8): "not converged",
        run_of("gd", 4, 1): UNREADABLE,
        run_of("guess_and_check"): "censored",
        run_of("rewl"): "converged",
    }
    jobs = {job.run: job for job in snapshot.runs}
    assert jobs[run_of("gd", 8)].said == "not converged: 1 of 2 fitted"
    assert jobs[run_of("gd", 8, 1)].said == "the data are damaged"
    assert jobs[run_of("rewl", 8, 1)].said == "KeyError: 'x'"
    assert jobs[run_of("rewl", 8)].progress.note == NOTE
    assert jobs[run_of("rewl", 4, 1)].silent == pytest.approx(3000, abs=60)
    assert {job.place: job.state for job in snapshot.before} == {
        "small": "done",
        "small · replicate 0": "done",
        "small · replicate 1": "waiting",
    }
    assert {job.state for job in snapshot.after} == {"waiting"} and not snapshot.complete


def test_a_checkpoint_is_a_sign_of_life_and_so_is_a_long_step(results):
    run = run_of("rewl")
    results.log(run, PROGRESS, age=1000)
    assert Reader(results.folder).read().runs[2].state == "stalled"
    kept = results.folder / "checkpoints/small/perceptron/n4/r0/rewl.state"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"")
    job = Reader(results.folder).read().runs[2]
    assert job.state == "running" and job.kept < 60
    kept.unlink()
    results.log(run, PROGRESS.replace("0.5 blocks", "0.002 blocks"), age=1000)
    assert Reader(results.folder).read().runs[2].state == "running"


def test_a_job_that_was_stopped_says_so_at_once(results):
    """As ``checkpoint.watch`` says it."""
    script = (
        "import os, signal, time\nfrom volumetry.runtime.checkpoint import Checkpoint, watch\n"
        "watch(Checkpoint()), os.kill(os.getpid(), signal.SIGTERM), time.sleep(60)\n"
    )
    stopped = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    results.log(run_of("gd"), f"{PROGRESS}\n{stopped.stderr}")
    job = Reader(results.folder).read().runs[0]
    assert job.state == "stalled" and job.said.startswith("Stopped by SIGTERM: nothing was kept")
    assert job.said in terminal.view(Reader(results.folder).read())


def test_a_job_that_goes_on_after_an_error_has_not_failed(results):
    results.log(run_of("gd"), f"Error: of an earlier attempt\n{PROGRESS}\n")
    assert Reader(results.folder).read().runs[0].state == "running"


def test_the_report_of_an_earlier_study_does_not_complete_this_one(results):
    made = ["study.nc", "seconds.csv", "charts/test_accuracy.svg", "report.html"]
    for name in made:
        results.touch(name)
        os.utime(results.folder / name, (time.time() - 60,) * 2)
    for run in grid(CONFIG)[:-1]:
        results.finish(run, test_accuracy=0.5)
    reader = Reader(results.folder)
    assert {job.state for job in reader.read().after} == {"waiting"}
    last = results.finish(grid(CONFIG)[-1], test_accuracy=0.5)
    assert {job.state for job in reader.read().after} == {"waiting"}
    for name in made:
        os.utime(results.folder / name)
    assert reader.read().complete
    # Made again with the same bytes, a run changes no report.
    for run in grid(CONFIG):
        path = results.path("runs", run, "nc")
        os.utime(path, (time.time() - 1000,) * 2)
    os.utime(last, (time.time() - 500,) * 2)
    for name in made:
        os.utime(results.folder / name, (time.time() - 600,) * 2)
    assert reader.read().complete


def test_files_are_read_again_only_when_they_change(mixed, monkeypatch):
    from volumetry.monitor import state

    read = []
    monkeypatch.setattr(
        state, "read_run", lambda path, real=state.read_run: read.append(path) or real(path)
    )
    reader = Reader(mixed.folder)
    first, again = reader.read(), reader.read()
    # The damaged one is tried again: it may have been a fault of the file system.
    assert len(read) == 5 + 1 and first.study is again.study
    path = mixed.finish(run_of("gd"), test_accuracy=0.8)
    third = reader.read()
    assert read[-2:].count(path) == 1 and len(read) == 8
    cell = {"sampler": "gd", "n": 4, "replicate": 0}
    assert third.study["test_accuracy"].sel(cell).item() == 0.8
    path.unlink()
    assert reader.read().runs[0].state == "waiting"


def test_no_file_makes_the_monitor_fail(mixed):
    """Cut and scrambled files of every kind; what is there is shown, what is not is counted."""
    rng = random.Random(0)
    files = [path for path in mixed.folder.rglob("*") if path.is_file()]
    whole = {path: path.read_bytes() for path in files if path.name != "config.yaml"}
    for _ in range(12):
        for path in (chosen := rng.sample(list(whole), 3)):
            damaged = bytearray(whole[path][: rng.randrange(len(whole[path]))])
            for k in rng.sample(range(len(damaged)), min(len(damaged), 5)):
                damaged[k] = rng.randrange(256)
            path.write_bytes(bytes(damaged))
        snapshot = Reader(mixed.folder).read()
        assert len(snapshot.runs) == 12 and terminal.view(snapshot)
        for path in chosen:
            path.write_bytes(whole[path])


def test_what_vanishes_or_is_a_folder_is_passed_over(mixed):
    mixed.path("runs", run_of("rewl"), "nc").unlink()
    mixed.path("runs", run_of("rewl"), "nc").mkdir()
    log = mixed.path("logs/runs", run_of("guess_and_check", 8), "log")
    log.symlink_to(mixed.folder / "nowhere")
    snapshot = Reader(mixed.folder).read()
    states = {job.run: (job.state, job.verdict) for job in snapshot.runs}
    assert states[run_of("rewl")] == ("done", UNREADABLE)
    assert states[run_of("guess_and_check", 8)] == ("waiting", "")


def test_a_result_in_the_wrong_place_is_not_taken_for_another(mixed):
    wrong = mixed.path("runs", run_of("rewl", 8), "nc")
    wrong.write_bytes(mixed.path("runs", run_of("rewl"), "nc").read_bytes())
    snapshot = Reader(mixed.folder).read()
    assert {job.run: job.verdict for job in snapshot.runs}[run_of("rewl", 8)] == UNREADABLE
    values = snapshot.study["log_volume"].sel(sampler="rewl")
    assert values.count() == 1 and values.sel(n=4, replicate=0) == -3.5


# ---- progress and time left ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "done, note", [(0, ""), (3, "beta 0.5, a: 5%, b; c"), (4000, "x"), (9, "")]
)
def test_a_line_of_progress_is_read_back(capsys, monkeypatch, done, note):
    progress = Progress("rewl, learning stage", "units of beta", interval=0.0)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2000)
    progress.update(done, 5000, note)
    line = parse(capsys.readouterr().err.rstrip("\n"))
    assert line[:2] == ("rewl, learning stage", round(done / 5000, 2))
    assert line.rate == pytest.approx(done / 2000, rel=0.01)
    assert (line.unit, line.note) == ("units of beta", note)
    left = (5000 - done) / (done / 2000) if done else None
    assert line.left == (left and pytest.approx(left, abs=2))


@pytest.mark.parametrize("text", ["Error: 5%", PROGRESS[:40], "a: 5%, 1e+ b/s, at most 1 s left"])
def test_other_lines_are_no_progress(text):
    assert parse(text) is None


def job_of(run: Run, state: str, *progress) -> Job:
    return Job(run.sampler, "", state, run, progress=Line(*progress) if progress else None)


def test_time_left_is_that_of_like_runs():
    measured = {
        run_of("gd", 4): 10.0,
        run_of("gd", 4, 1): 14.0,
        run_of("gd", 64): 100.0,
        Run("other", "perceptron", 30, 0, "gd"): 7000.0,
    }
    jobs = [
        *(job_of(run, "done") for run in measured),
        job_of(run_of("gd", 8), "waiting"),  # nearest to 4: 12
        job_of(run_of("gd", 32), "stalled"),  # nearest to 64: 100
        # A quarter of a stage done and 30 s left: 10 s spent of 100.
        job_of(run_of("gd", 64, 1), "running", "gd", 0.25, 1.0, "epochs", 30.0, ""),
        # Longer than expected already: what its progress says.
        job_of(run_of("gd", 4, 2), "running", "gd", 0.5, 1.0, "epochs", 50.0, ""),
        job_of(run_of("gd", 4, 3), "failed"),
        job_of(run_of("rewl", 4), "waiting"),
        job_of(run_of("rewl", 8), "waiting"),
    ]
    left = time_left(jobs, measured)
    assert left.work == pytest.approx(12 + 100 + 90 + 50)
    assert left.wall == pytest.approx(left.work / 2)
    assert left.timed == 4 and left.unknown == {"rewl": 2}
    assert time_left(jobs[:5], measured).wall is None


@pytest.mark.parametrize(
    "seconds, text",
    [(0, "0 s"), (89, "89 s"), (120, "2 min"), (6000, "1.7 h"), (3 * 86400, "3.0 d")],
)
def test_durations_are_short(seconds, text):
    assert words.duration(seconds) == text


# ---- views ---------------------------------------------------------------------------------------


def test_the_terminal_view_says_what_is_known(mixed):
    text = terminal.view(Reader(mixed.folder).read(), 100)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert (
        "5 of 12 runs done (32% of the work), 1 running, 1 stalled, 2 failed, 3 waiting" in lines[2]
    )
    assert re.search(r"About \d+ \w+ left with 1 run at a time. Judged by 4 finished runs.", text)
    counts = {line.split()[0]: line.split()[1:] for line in lines if line[:4] in ("rewl", "gd  ")}
    bad = ["1", "not", "converged,", "1", "unreadable"]
    assert counts == {"gd": ["3", "1", "4", *bad], "rewl": ["1", "1", "1", "1", "4"]}
    assert f"45%; 0.5 blocks/s; at most 2 min left; {NOTE}" in text
    assert "the data are damaged" in text and "KeyError: 'x'" in text
    rows = [line.split() for line in lines]
    assert ["test", "accuracy", "gd", "0.900", "(1", "of", "2)", "–"] in rows
    assert ["advantage", "gd", "+0.300", "(1", "of", "2)", "–"] in rows
    assert ["ln", "V", "(nats)", "rewl", "-3.50", "(1", "of", "2)", "–"] in rows


def test_the_page_shows_the_same_and_reloads_until_the_end(mixed):
    from volumetry.monitor import page

    snapshot = Reader(mixed.folder).read()
    html = page.render(snapshot, 30.0)
    assert '<meta http-equiv="refresh" content="30">' in html
    for text in (
        words.headline(snapshot),
        NOTE,
        "the data are damaged",
        "not converged: 1 of 2 fitted",
        "+0.300",
        "−3.50",
        'id="log_volume-0-spec"',
        'id="advantage-0-spec"',
    ):
        assert text in html, text
    assert "default-src 'none'" in html


def test_the_views_of_a_study_without_a_result(results):
    from volumetry.monitor import page

    snapshot = Reader(results.folder).read()
    assert "0 of 12 runs done (0%), 12 waiting" in terminal.view(snapshot)
    assert "No run is finished yet" in page.render(snapshot, 30.0)
