"""The page of the benchmark: how fast, beside what, and how near to what the hardware allows."""

import json

import altair as alt
import numpy as np
import xarray as xr

from volumetry.report import benchmark_charts, offline

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
        "proportionality from the first point.",
    ),
    "guesses": (
        "Guesses of Guess & Check",
        "Guesses stop at their first wrong example here; the baseline evaluates batches of weight "
        "settings on all n, in the fastest of several batch sizes.",
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
        quick=result.attrs["design"] != "full",
        has_gpu="gpu" in drawn,
        moves=_moves(result),
        limits=_limits(result),
        machine=_machine(result),
        repetitions=result.sizes["repetition"],
        n_test=result.attrs["n_test"],
    )


def draw(name: str, result: xr.Dataset) -> alt.TopLevelMixin:
    """One chart of the page."""
    return getattr(benchmark_charts, name)(result)


def headlines(result: xr.Dataset) -> list[str]:
    """The result in sentences: speed, ratio to the baselines, and part of the limit."""
    architecture = result["architecture"].values[0]
    sizes = result["n"].values
    n = 600 if 600 in sizes else sizes[-1]
    cell = result.sel(architecture=architecture, n=n)
    train, both = cell["moves_per_second"].median("repetition").values
    ratio = cell["move_speedup"].sel(baseline_threads="one thread").values
    guess = result["guess_speedup"].values
    limit = result["fraction_of_limit"].values
    return [
        f"{architecture}, n = {n}: {_figure(train)} moves per second and core on the training "
        f"set, {_figure(both)} with {result.attrs['n_test']:,} test examples evaluated at every "
        "move.",
        f"That is {_figure(ratio[0])} and {_figure(ratio[1])} times a full forward pass of the "
        "same move in torch on one thread. Both count the same examples right: checked in this "
        "run.",
        f"Guess & Check makes {_figure(guess.min())} to {_figure(guess.max())} times the guesses "
        "of batches in torch on the same cores.",
        f"Moves reach {limit.min():.0%} to {limit.max():.0%} of the speed at which this machine's "
        "memory could deliver what they touch.",
    ]


def _figure(value: float) -> str:
    """A number to three digits."""
    if value >= 100:
        digits = int(np.floor(np.log10(value)))
        return f"{round(value, 2 - digits):,.0f}"
    return f"{value:.3g}"


def _median(array: xr.DataArray) -> str:
    """Median of the repetitions, with the least and the largest."""
    values = array.values
    return f"{_figure(np.median(values))} [{_figure(values.min())}, {_figure(values.max())}]"


def _cells(result: xr.Dataset):
    """(architecture, n, examples), part for each measurement of moves."""
    for examples in result["examples"].values:
        for architecture in result["architecture"].values:
            for n in result["n"].values:
                cell = {"architecture": architecture, "n": n, "examples": examples}
                yield (examples, architecture, int(n)), result.sel(**cell)


def _moves(result: xr.Dataset) -> list[tuple]:
    """Place, moves a second of the engine and of the baseline on one and all threads, ratios."""
    return [
        (
            *place,
            _median(part["moves_per_second"]),
            *(_median(part["baseline_moves_per_second"].sel(baseline_threads=t)) for t in threads),
            *(_figure(part["move_speedup"].sel(baseline_threads=t).item()) for t in threads),
        )
        for threads in [result["baseline_threads"].values]
        for place, part in _cells(result)
    ]


def _limits(result: xr.Dataset) -> list[tuple]:
    """Place, KB and operations of a move, least and measured microseconds, their ratio, share."""
    return [
        (
            *place,
            f"{part['typical_move_bytes'].item() / 1e3:,.1f}",
            f"{part['move_bytes'].item() / 1e3:,.1f}",
            f"{part['move_operations'].item() / 1e3:,.1f}",
            f"{part['move_limit_seconds'].item() * 1e6:,.2f}",
            f"{1e6 / part['moves_per_second'].median().item():,.2f}",
            f"{part['fraction_of_limit'].item():.0%}",
            f"{part['convolution_share'].item():.0%}",
        )
        for place, part in _cells(result)
    ]


def _machine(result: xr.Dataset) -> list[tuple[str, str]]:
    """What it was measured on."""
    attributes = result.attrs
    versions = ", ".join(f"{k} {v}" for k, v in json.loads(attributes["versions"]).items())
    rows = {
        "processor": attributes["processor"],
        "instructions": attributes["instructions"],
        "cores": f"{attributes['cores']}, of which {attributes['threads']} used",
        "memory": f"{attributes['memory_gb']} GB",
        "versions": versions,
        "volumetry": f"{attributes['volumetry_version']} {attributes.get('commit', '')}",
        "code digest": attributes["code_digest"],
        "date": attributes["date"],
        "design": attributes["design"],
    }
    return list(rows.items())
