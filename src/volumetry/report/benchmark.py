"""The page of the benchmark: how fast, beside what, and how near to what the hardware allows."""

import altair as alt
import xarray as xr

from volumetry.report import benchmark_charts, offline
from volumetry.report.benchmark_tables import TABLES, figure, median, reference

_TEXT = {
    "moves": (
        "Moves of the Markov chain",
        "A move flips three weights and counts which examples are then right. The incremental "
        "engine (solid) recomputes only what the flips touch; a full forward pass (dashed) sends "
        "every image through the network. Every move is accepted, the slowest case: a study, whose "
        "training set rejects most moves before the test set is looked at, lies between the two "
        "panels.",
    ),
    "scaling": (
        "What a move costs",
        "Training set only, one core, n = {fixed_n} where n is not the axis. The dashed line is "
        "proportionality from the first point. Two hidden layers may need sums of 64 bits.",
    ),
    "guesses": (
        "Guesses of Guess & Check",
        "A guess stops at its first wrong example here; the baseline evaluates batches of weight "
        "settings on all n, in the fastest of several batch sizes, on one thread or all.",
    ),
    "training": (
        "Training",
        "The {networks} networks of a job as one batched model, and one after the other "
        "(n = {train_n}). An epoch passes over the training set once for one network.",
    ),
    "start_up": (
        "Start-up",
        "From the start of a process to the end of a job that is next to nothing. Kernels are "
        "compiled once for each version of the code and kept in the user's cache.",
    ),
    "bandwidth": (
        "Memory",
        "Rows added to rows on one core, read and written bytes together. The steps are the levels "
        "of the cache; these figures make the hardware's limit in the table below.",
    ),
    "gpu": ("GPU", "Moves of all walkers together, every move accepted."),
}


_BUSY = 1.0
"""Load average above which other work was going on; the start of the benchmark makes some."""


def render(result: xr.Dataset) -> str:
    """The HTML of the page.

    Args:
        result: what ``benchmark.run.run`` returns.
    """
    drawn = [name for name in _TEXT if name != "gpu" or "gpu_moves_per_second" in result]
    charts = [
        {
            "name": name,
            "title": _TEXT[name][0],
            "caption": _TEXT[name][1].format(**result.attrs),
            "chart": draw(name, result),
        }
        for name in drawn
    ]
    return offline.render(
        "benchmark.html.j2",
        charts,
        headlines=headlines(result),
        cautions=cautions(result),
        has_gpu="gpu" in drawn,
        tables={name: table(result) for name, table in TABLES.items()},
        repetitions=result.sizes["repetition"],
        n_test=result.attrs["n_test"],
    )


def draw(name: str, result: xr.Dataset) -> alt.TopLevelMixin:
    """One chart of the page."""
    return getattr(benchmark_charts, name)(result)


def cautions(result: xr.Dataset) -> list[str]:
    """What makes the figures worth less, in sentences."""
    found = []
    if result.attrs["design"] != "full":
        found.append("The quick design shows that everything runs. Its figures mean nothing.")
    if result.attrs["load"] > _BUSY:
        found.append(
            f"The machine was busy with other work: its load was {result.attrs['load']:.1f} when "
            "the benchmark began. The figures are too low, and those of all threads most of all."
        )
    return found


def headlines(result: xr.Dataset) -> list[str]:
    """The result in sentences: speed, ratio to the baselines, and part of the limit."""
    cell = reference(result)
    train, both = (median(speed) for speed in cell["moves_per_second"])
    ratio = cell["move_speedup"].sel(baseline_threads="one thread").values
    guess = result["guess_speedup"].values
    limit = cell["fraction_of_limit"].values
    return [
        f"{cell['architecture'].item()}, n = {cell['n'].item()}: {figure(train)} moves per second "
        f"and core on the training set, {figure(both)} with {result.attrs['n_test']:,} test "
        "examples evaluated at every move.",
        f"That is {figure(ratio[0])} and {figure(ratio[1])} times a full forward pass of the "
        "same move in torch on one thread. Both count the same examples right: checked in this "
        "run.",
        f"Guess & Check makes {figure(guess.min())} to {figure(guess.max())} times the guesses "
        "of batches in torch on the same cores.",
        f"By count of what it reads and writes, such a move reaches {limit[0]:.0%} and "
        f"{limit[1]:.0%} of the speed that this machine's memory allows.",
    ]
