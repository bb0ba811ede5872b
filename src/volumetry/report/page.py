"""The report: one page that needs nothing but a browser."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd
import xarray as xr
from altair.utils.schemapi import debug_mode

from volumetry.report import answer, contrasts, findings, offline
from volumetry.report.catalogue import MARKS, Chart, of_study
from volumetry.report.charts import draw_figure
from volumetry.report.numbers import starred
from volumetry.report.style import style
from volumetry.results.views import status, systems

INTERVALS = (
    f"{MARKS} Samplers of one n stand side by side; hold the pointer over a mark for its numbers."
)


def render(study: xr.Dataset, seconds: Iterable[Mapping] | None, config_text: str) -> str:
    """The HTML of the report.

    Args:
        study: what ``results.aggregate`` returns.
        seconds: rows of ``results.seconds``, or None.
        config_text: the configuration that was run.

    Returns:
        A page with all data, scripts and styles inside; it forbids the browser to load any more.
    """
    with debug_mode(False):  # Altair would check every part that it makes: a sixth of the time
        return _render(study, seconds, config_text)


def _render(study: xr.Dataset, seconds: Iterable[Mapping] | None, config_text: str) -> str:
    compared = contrasts.contrasts_of(study)
    findings_of = {
        "contrast": contrasts.words(study, compared),
        "log_volume": findings.guess_and_check_agreement(study),
        "volume_slope": findings.slope_agreement(study),
    }
    sizes = (study.sizes[dim] for dim in ("dataset", "architecture"))
    charts = [
        section | {"finding": findings_of.get(section["name"], "")}
        for section in sections(study, of_study(study["sampler"].values, *sizes, systems(study)))
    ]
    return offline.render(
        "page.html.j2",
        charts,
        systems=systems(study),
        scope=_scope(study),
        headlines=answer.headlines(study),
        cautions=findings.cautions(study),
        intervals=INTERVALS,
        columns=[_COLUMNS[name][0] for name in _shown(study)],
        numbers=_numbers(study),
        contrasts=contrasts.table(study, compared),
        contrasted=contrasts.header(compared),
        checks=findings.checks(study),
        steps=findings.steps(study),
        convergence=_convergence(study),
        diagnostics=_diagnostics(study),
        cost=_cost(study, seconds or ()),
        networks=_networks(study),
        parameters=_parameters(study),
        provenance=_provenance(study),
        config_text=config_text,
    )


def sections(study: xr.Dataset, charts: Iterable[Chart]) -> list[dict]:
    """What ``offline.render`` takes: name, title and caption of each chart, and its figure."""
    return [
        {
            "name": chart.name,
            "title": chart.title,
            "caption": chart.caption,
            "figure": draw_figure(chart.name, study),
        }
        for chart in charts
    ]


def _scope(study: xr.Dataset) -> str:
    names = ", ".join(style(s).label for s in study["sampler"].values)
    sizes = ", ".join(
        f"{dataset} (n = {', '.join(map(str, _sizes(study, dataset)))})"
        for dataset in study["dataset"].values
    )
    replicates = study.sizes["replicate"]
    return (
        f"Datasets: {sizes}. Architectures: {', '.join(study['architecture'].values)}. "
        f"Samplers: {names}. {replicates} replicate{'s' * (replicates != 1)}."
    )


def _sizes(study: xr.Dataset, dataset: str) -> list[int]:
    present = study["converged"].sel(dataset=dataset).notnull()
    return study["n"].values[present.any([d for d in present.dims if d != "n"])].tolist()


def _groups(study: xr.Dataset, *names: str) -> Iterator[tuple[tuple, pd.DataFrame]]:
    """(dataset, architecture, n, sampler label), rows for each group of replicates there is.

    Args:
        names: variables that the rows shall have.
    """
    order = ("dataset", "architecture", "n", "sampler", "replicate")
    there = study["converged"].notnull().rename("there")
    table = xr.merge([there, study[list(names)].reset_coords(drop=True)]).to_dataframe(order)
    table = table[table["there"]].reset_index()
    for (dataset, architecture, n, name), rows in table.groupby(list(order[:4]), sort=False):
        yield (dataset, architecture, int(n), style(name).label), rows


_COLUMNS = {
    "test_accuracy_mean": ("test accuracy", 3, ""),
    "advantage": ("advantage", 3, "+"),
    "test_loss_mean": ("generalisation loss", 4, ""),
    "log_volume_mean": ("ln V (nats)", 2, ""),
}
"""Summaries in the table of numbers: title, digits, sign."""


def _shown(study: xr.Dataset) -> list[str]:
    """The columns that the study has anything for, the log-volume always."""
    return [
        name
        for name in _COLUMNS
        if name == "log_volume_mean" or (name in study and study[name].notnull().any())
    ]


def _numbers(study: xr.Dataset) -> list[tuple]:
    """The numbers of the charts: place, and what is ``_shown`` with its intervals."""
    columns = [(name, *_COLUMNS[name][1:]) for name in _shown(study)]
    ends = ("", "_low", "_high", "_converged")
    needed = [f"{name}{end}" for name, *_ in columns for end in ends]
    found = []
    for place, rows in _groups(study, *needed):
        at = rows.iloc[0]  # the summaries of a group are the same in all of its rows
        said = (starred(at, *column) for column in columns)
        found.append((*place, *said))
    return found


def _convergence(study: xr.Dataset) -> list[dict]:
    """For each group of replicates: runs, converged, censored, networks fitted, verdicts."""
    found = []
    study = study.assign(state=status(study))
    for place, rows in _groups(study, "state", "verdict", "n_networks", "n_fitted"):
        states = Counter(rows["state"])
        networks = int(rows["n_networks"].sum())
        replicates = rows.groupby("verdict", sort=False)["replicate"].agg(list)
        found.append(
            {
                "place": place,
                "converged": f"{states['converged']} of {len(rows)}",
                "censored": states["censored"] or "",
                "fitted": f"{int(rows['n_fitted'].sum())} of {networks}" if networks else "",
                "verdicts": [
                    said
                    if len(replicates) == 1
                    else f"replicate {', '.join(map(str, where))}: {said}"
                    for said, where in replicates.items()
                ],
                "bad": states["not converged"] > 0,
            }
        )
    return found


_DIAGNOSTICS = {
    "round_trips": ("min", "{:,.0f}"),
    "exchange_least": ("min", "{:.0%}"),
    "ln_f_last": ("max", "{:.1e}"),
    "lineages_least": ("min", "{:.0f}"),
}


def _diagnostics(study: xr.Dataset) -> list[tuple]:
    """For each group of chains: place, and the worst of its replicates in what tells of mixing."""
    found = []
    for place, rows in _groups(study, *_DIAGNOSTICS):
        worst = rows.agg({name: how for name, (how, _) in _DIAGNOSTICS.items()})
        if worst.notna().any():
            words = (
                form.format(worst[name]) if np.isfinite(worst[name]) else ""
                for name, (_, form) in _DIAGNOSTICS.items()
            )
            found.append((*place, *words))
    return found


def _cost(study: xr.Dataset, seconds: Iterable[Mapping]) -> list[tuple]:
    """For each sampler: runs, moves, guesses, epochs, all and most seconds, peak memory in MB."""
    total, longest, memory = Counter(), Counter(), Counter()
    for row in seconds:
        sampler = row["sampler"]
        total[sampler] += row["seconds"]
        longest[sampler] = max(longest[sampler], row["seconds"])
        if np.isfinite(row["max_rss_mb"]):
            memory[sampler] = max(memory[sampler], row["max_rss_mb"])
    rows = []
    for sampler in study["sampler"].values:
        part = study[["converged", "moves", "guesses", "epochs"]].sel(sampler=sampler)
        rows.append(
            (
                style(sampler).label,
                int(part["converged"].count()),
                *(_whole(part[name].sum().item()) for name in ("moves", "guesses", "epochs")),
                f"{total[sampler]:,.0f}" if sampler in total else "",
                f"{longest[sampler]:,.1f}" if sampler in longest else "",
                f"{memory[sampler]:,.0f}" if sampler in memory else "",
            )
        )
    return rows


def _whole(number: float) -> str:
    return f"{number:,.0f}" if number else ""


def _networks(study: xr.Dataset) -> list[tuple]:
    """(architecture, its layers, number of weights on each dataset)."""
    rows = []
    for architecture in study["architecture"].values:
        part = study.sel(architecture=architecture)
        layers = json.loads(part["layers"].item() or "[]")
        weights = {d: part["n_weights"].sel(dataset=d).item() for d in study["dataset"].values}
        rows.append(
            (
                architecture,
                f"{', '.join(layers) or 'perceptron: no hidden layer'}; {_weights(part)}",
                "; ".join(f"{d}: {m:,.0f}" for d, m in weights.items() if np.isfinite(m)),
            )
        )
    return rows


def _weights(part: xr.Dataset) -> str:
    """What the weights of an architecture are, in words."""
    about = json.loads(part["weights"].item())
    if about["weights"] == "binary":
        return "binary weights"
    biases = "biases, " if about["biases"] else ""
    said = f"{about['weights']} weights (scale {about['scale']}, {biases}{about['activation']}"
    if seen_as := about.get("normalise"):
        said += ", inputs less {:g} over {:g}".format(*seen_as)
    return f"{said})"


def _json_attributes(study: xr.Dataset) -> dict[str, dict[str, list]]:
    """The attributes that ``aggregate`` gathered from the runs: {name: {sampler: [values]}}."""
    found = {}
    for name, text in study.attrs.items():
        try:
            value = json.loads(text)
        except (TypeError, ValueError):
            continue
        if isinstance(value, dict) and all(isinstance(each, list) for each in value.values()):
            found[name] = value
    return found


def _words(value) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return str(value)


def _parameters(study: xr.Dataset) -> list[tuple[str, str]]:
    """(sampler, its parameters as they were resolved)."""
    given = _json_attributes(study).get("parameters", {})
    return [
        (
            style(sampler).label,
            " | ".join(
                ", ".join(f"{key} = {each}" for key, each in value.items()) or "none"
                for value in given[sampler]
            ),
        )
        for sampler in study["sampler"].values
        if sampler in given
    ]


def _provenance(study: xr.Dataset) -> list[tuple[str, str]]:
    """(attribute, values) of the runs; where the samplers differ, each with its own."""
    rows = []
    for name, by_sampler in _json_attributes(study).items():
        if name == "parameters":
            continue
        said = {s: " | ".join(map(_words, values)) for s, values in by_sampler.items()}
        if len(set(said.values())) == 1:
            words = next(iter(said.values()))
        else:
            words = "; ".join(f"{style(s).label}: {each}" for s, each in said.items())
        rows.append((name.replace("_", " "), words))
    return rows
