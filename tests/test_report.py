"""Charts show the numbers of the study, sentences say what they mean, the page stands alone."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from jinja2 import Template
from made_studies import GD, REWL, rewl, run, study_of
from repository import ROOT

from volumetry.report import answer, charts, contrasts, findings, page
from volumetry.report.catalogue import CHARTS, MARKS, of_study
from volumetry.results.roles import TRAINED
from volumetry.runtime import netcdf


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """gd, rewl and Guess & Check: hits at n = 10, censored at n = 40."""
    folder = tmp_path_factory.mktemp("study")
    hits = {"log_volume": -4.9, "log_volume_stderr": 0.3, "guesses": 1000, "hits": 7}
    none = {"log_volume_upper": -5.8, "guesses": 1000, "hits": 0, "converged": False}
    return study_of(
        folder,
        run("gd", GD, epochs=1500),
        run("guess_and_check", {10: [0.41, 0.42]}, **hits),
        run("guess_and_check", {40: [np.nan, np.nan]}, **none),
        rewl({10: REWL[10]}, moves=2_000_000),
        run("rewl", {40: REWL[40]}, log_volume=-25.0, log_volume_stderr=0.2),
    )


def shown(study):
    """Names of the charts of a study."""
    sizes = (study.sizes[dim] for dim in ("dataset", "architecture"))
    return [chart.name for chart in of_study(study["sampler"].values, *sizes)]


def rows(chart):
    """All rows of data in a chart."""
    return [row for table in chart.to_dict()["datasets"].values() for row in table]


# ---- charts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "chart, summary", [("advantage", "advantage"), ("test_accuracy", "test_accuracy_mean")]
)
def test_chart_shows_every_value_of_the_study_and_no_other(study, chart, summary):
    part = study.isel(dataset=0, architecture=0)
    shown = {
        (row["n"], row["sampler"]): (row["value"], row["low"], row["high"])
        for row in rows(charts.draw_chart(chart, study))
        if "sampler" in row
    }
    samplers = TRAINED if chart == "advantage" else part["sampler"].values
    expected = {}
    for n in part["n"].values:
        for sampler in part["sampler"].values:
            here = part.sel(n=n, sampler=sampler)
            if sampler in samplers and here[summary].notnull():
                ends = tuple(here[f"{summary}{end}"].item() for end in ("", "_low", "_high"))
                expected[n, sampler] = ends
    assert shown == {key: pytest.approx(value) for key, value in expected.items()}
    assert len(expected) == (2 if chart == "advantage" else 5)


def test_log_volume_lays_guess_and_check_over_rewl_and_marks_the_censored(study):
    table = rows(charts.draw_chart("log_volume", study))
    means = {r["n"]: r["value"] for r in table if r["sampler"] == "rewl" and r["replicate"] is None}
    assert means == pytest.approx({10: -5.0, 40: -25.0})
    limits = [row for row in table if "upper end" in row["label"]]
    assert [(row["n"], row["value"]) for row in limits] == [(40, -5.8)] * 2
    hits = [row for row in table if row["label"] == "Guess & Check"]
    assert [(row["n"], row["value"]) for row in hits] == [(10, -4.9)] * 2
    assert all(row["low"] < -4.9 < row["high"] for row in hits)
    legend = json.dumps(charts.draw_chart("log_volume", study).to_dict())
    assert '"triangle-down"' in legend and "no hit: upper end of the 95 % interval" in legend


def test_volume_slope_draws_steps_between_sizes_and_points_at_them(study):
    table = rows(charts.draw_chart("volume_slope", study))
    steps = {row["n"]: (row["start"], row["value"]) for row in table if "start" in row}
    assert steps[40] == pytest.approx((10, 20 / 30))
    assert steps[10] == pytest.approx((5, 0.5))  # from n = 0, drawn from the left end
    points = {row["n"]: row["value"] for row in table if "start" not in row}
    assert points[40] == pytest.approx(-np.mean(np.log(REWL[40])))


def test_unconverged_points_are_hollow(tmp_path):
    half = study_of(
        tmp_path, run("gd", GD), rewl({10: REWL[10]}), rewl({40: REWL[40]}, converged=False)
    )
    chart = charts.draw_chart("advantage", half)
    flags = {row["n"]: row["converged"] for row in rows(chart) if "converged" in row}
    assert flags == {10: True, 40: False}
    layers = chart.to_dict()["concat"][0]["layer"]
    looks = {
        layer["transform"][0]["filter"]: layer["mark"] for layer in layers if "transform" in layer
    }
    assert looks["datum.converged"]["filled"] is True
    assert looks["!datum.converged"]["filled"] is False
    assert looks["!datum.converged"]["fill"] == "white"


def test_axis_ticks_are_the_sizes_of_each_panel(tmp_path):
    two = study_of(
        tmp_path,
        run("gd", {10: [0.5], 40: [0.6]}),
        run("gd", {4: [0.8], 16: [0.9]}, dataset="digits_0v7"),
    )
    panels = charts.draw_chart("test_accuracy", two).to_dict()["concat"]
    assert [p["title"] for p in panels] == ["digits · simple_cnn", "digits_0v7 · simple_cnn"]
    ticks = [p["layer"][0]["encoding"]["x"]["axis"]["values"] for p in panels]
    assert ticks == [[10, 40], [4, 16]]
    assert {p["layer"][0]["encoding"]["x"]["scale"]["type"] for p in panels} == {"log"}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param([run("gd", {10: [0.5]}), rewl({10: [0.4]})], id="one run of each"),
        pytest.param([run("gd", GD)], id="no rewl"),
        pytest.param([rewl()], id="rewl alone"),
        pytest.param(
            [run("guess_and_check", {10: [np.nan]}, log_volume_upper=-3.0, converged=False)],
            id="censored only",
        ),
        pytest.param([run("gd", {10: [1.0, 1.0]}), rewl({10: [1.0, 1.0]})], id="all right"),
        pytest.param([run("gd", {10: [np.nan]}, converged=False)], id="nothing fitted"),
        pytest.param([run("other", GD), run("gd", GD, architecture="deep"), rewl()], id="others"),
    ],
)
def odd_study(request, tmp_path_factory):
    """A study that lacks something."""
    return study_of(tmp_path_factory.mktemp("odd"), *request.param)


@pytest.mark.parametrize("name", CHARTS)
def test_every_study_can_be_drawn(name, odd_study, tmp_path):
    path = tmp_path / f"{name}.svg"
    charts.save(charts.draw_chart(name, odd_study), path, tmp_path / "chart.png")
    svg = path.read_text()
    assert svg.startswith("<svg") and "NaN" not in svg and "<text" in svg


def test_a_chart_is_saved_in_two_formats(study, tmp_path):
    charts.save(charts.draw_chart("advantage", study), tmp_path / "a.svg", tmp_path / "a.png")
    assert "Advantage" in (tmp_path / "a.svg").read_text()
    image = (tmp_path / "a.png").read_bytes()
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    width = float(re.search(r'width="(\d+)', (tmp_path / "a.svg").read_text())[1])
    assert int.from_bytes(image[16:20]) == pytest.approx(2 * width, abs=2)


# ---- sentences ---------------------------------------------------------------------------------


def test_cautions_count_what_went_wrong(tmp_path):
    fitted = ("network", np.array([1, 0, 0, 1], np.int8))
    study = study_of(
        tmp_path,
        run("gd", GD, fitted=fitted, converged=False),
        run("guess_and_check", {10: [np.nan]}, log_volume_upper=-3.0, converged=False),
        rewl(),
    )
    unconverged, networks, censored = findings.cautions(study)
    assert unconverged.startswith("4 of 9 runs did not converge.")
    assert networks.startswith("8 of 16 trained networks never fitted")
    assert censored.startswith("1 run of Guess & Check had no hit")


def test_a_sound_study_needs_no_caution_and_one_replicate_does(tmp_path):
    assert findings.cautions(study_of(tmp_path / "a", run("gd", GD), rewl())) == []
    (said,) = findings.cautions(study_of(tmp_path / "b", run("gd", {10: [0.5]})))
    assert said.startswith("There is one replicate")


# ---- the page ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def html(study):
    place = {"dataset": "digits", "architecture": "simple_cnn", "n": 10, "replicate": 0}
    seconds = [place | {"sampler": "gd", "seconds": s, "max_rss_mb": 321.4} for s in (1000, 234)]
    return page.render(study, seconds, "seed: 0  # <& the configuration")


def without_libraries(html):
    """The page without the bundled chart library, whose text names web addresses it never loads."""
    scripts = re.findall(r"<script>.*?</script>", html, flags=re.S)
    return html.replace(max(scripts, key=len), "")


def test_page_loads_nothing_from_outside(html, study):
    own = without_libraries(html)
    assert len(own) < len(html) / 3 < 1_000_000
    assert "http" not in own.replace("http-equiv", "")
    assert not re.search(r"<(link|img|iframe|object)\b|\bsrc=|@import|url\((?!#)", own)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)[1]
    assert policy.startswith("default-src 'none';") and "http" not in policy
    assert html.count("<script>") == html.count("</script>") - html.count("application/json") == 2


def test_page_holds_every_chart_with_its_data(html, study):
    specs = re.findall(
        r'<script type="application/json" id="(\w+)-0-spec">(.*?)</script>', html, flags=re.S
    )
    drawn = [name for name in shown(study) if charts.draw_figure(name, study).panels]
    assert [name for name, _ in specs] == drawn and len(drawn) > 5
    for name, text in specs:
        ((_, expected),) = charts.draw_figure(name, study).apart()[:1]
        assert json.loads(text)["datasets"] == expected["datasets"]
        place = re.search(rf'id="{name}-0" role="img" aria-label="([^"]+)">', html)
        assert any(character.isdigit() for character in place[1])


def test_every_figure_is_there_without_scripts(html, study):
    images = re.findall(r'<div class="chart"[^>]*>(<svg.*?</svg>)</div>', html, flags=re.S)
    assert len(images) == html.count('class="chart"') > 5
    assert all("<path" in image for image in images)


def test_page_leads_with_the_result_then_the_advantage(html, study):
    own = without_libraries(html)
    result, *_ = answer.headlines(study)
    assert own.index(result) < own.index('id="advantage"') < own.index('id="test_accuracy"')


def test_page_says_what_was_run_and_what_did_not_converge(html):
    own = without_libraries(html)
    assert "seed: 0  # &lt;&amp; the configuration" in own and "&lt;abc&gt;" in own
    for words in ("1,234", "321", "4,000,000", "flatness = 0.8", "conv 6, pool", "digits: 123,456"):
        assert words in own, words
    censored = re.search(r'">40</td><td>Guess &amp; Check</td><td>0 of 2</td>(.*?)</tr>', own)[1]
    assert censored.startswith('<td class="number">2</td>') and "every criterion met" in censored
    assert ">0.410 [" in own and ">+0.200 [" in own and "*</td>" not in own


def test_page_marks_rows_that_did_not_converge(tmp_path):
    study = study_of(
        tmp_path, run("gd", GD), rewl(converged=False, verdict="<no> round trip of any replica")
    )
    own = without_libraries(page.render(study, None, ""))
    bad = re.findall(r'<tr class="bad">.*?</tr>', own)
    assert len(bad) == 4  # two sizes, in the list of trouble and in that of all runs
    accuracy = own.index("Random interpolator (REWL)</td>", own.index("<details>"))
    assert own[accuracy:].split("</td>")[1].endswith(" *")
    assert all("0 of 2" in row and "&lt;no&gt; round trip" in row for row in bad)


def test_page_tells_how_the_chains_mixed(tmp_path):
    """Three windows, of which the last has no next one; two layers."""
    study = study_of(
        tmp_path,
        run("gd", GD),
        rewl(
            exchange_acceptance=("window", [0.31, 0.22, np.nan]),
            ln_f=(("learning_step", "window"), [[0.5, 0.5, 0.5], [0.02, 0.01, 0.03]]),
            lineages=("layer", [12.0, 40.0]),
        ),
    )
    here = study.isel(n=0, replicate=0).sel(sampler="rewl")
    assert (here["exchange_least"], here["ln_f_last"], here["lineages_least"]) == (0.22, 0.03, 12)
    rows = re.findall(r"<tr>.*?</tr>", without_libraries(page.render(study, None, "")))
    (row,) = [row for row in rows if ">10<" in row and "22%" in row]
    assert ">3.0e-02<" in row and ">12<" in row


def test_page_without_rewl_says_so(tmp_path):
    html = page.render(study_of(tmp_path, run("gd", GD)), None, "")
    assert answer.NO_ADVANTAGE in html


def test_page_is_reproducible_from_the_file(study, tmp_path):
    netcdf.write(study, tmp_path / "study.nc")
    again = netcdf.read(tmp_path / "study.nc")
    assert isinstance(again, xr.Dataset)
    assert page.render(again, None, "x") == page.render(study, None, "x")


def test_tails_have_a_line_for_each_size_and_a_mark_for_each_sampler():
    sizes, grid = [10, 40], np.linspace(0, 1, 5)
    study = xr.Dataset(
        {
            "log_p_given_fit": (
                ("dataset", "architecture", "n", "replicate", "accuracy"),
                np.log([[[[[0.1, 0.2, 0.4, 0.2, 0.1]], [[0.1, 0.1, 0.2, 0.3, 0.3]]]]]),
            ),
            **{
                name: (("dataset", "architecture", "n", "replicate", "sampler"), values)
                for name, values in {
                    "tail_log_volume": [[[[[-2.0, np.nan]], [[-3.0, np.nan]]]]],
                    "test_accuracy": [[[[[0.7, 0.5]], [[0.9, 0.6]]]]],
                    "converged": [[[[[1, 1]], [[1, 0]]]]],
                }.items()
            },
        },
        {
            "dataset": ["digits"],
            "architecture": ["tiny"],
            "n": sizes,
            "replicate": [0],
            "sampler": ["gd", "joint"],
            "accuracy": grid,
        },
    )
    spec = charts.draw_chart("accuracy_tails", study).to_dict()
    tables = [row for table in spec["datasets"].values() for row in table]
    curve = [row["tail"] for row in tables if row.get("label") == "n = 10" and "tail" in row]
    assert np.allclose(curve, np.log([1.0, 0.9, 0.7, 0.3, 0.1]))
    marks = [row for row in tables if row.get("label") == "GD"]
    assert [(row["accuracy"], row["tail"]) for row in marks] == [(0.7, -2.0), (0.9, -3.0)]
    assert [row["converged"] for row in marks] == [True, False]  # as joint did
    curves = {row["label"]: row["converged"] for row in tables if "n = " in row["label"]}
    assert curves == {"n = 10": True, "n = 40": False}
    assert "accuracy_tails" in shown(study)


def test_the_joint_density_has_a_cell_for_each_level_and_a_ridge():
    """Two levels of A, of which the upper one is met at the upper half of accuracies alone."""
    grid = np.linspace(0, 1, 5)
    values = np.log([[0.1, 0.2, 0.4, 0.2, 0.1], [np.nan, np.nan, 0.5, 0.25, 0.25]])
    dims = ("dataset", "architecture", "n", "replicate", "A", "coarse_accuracy")
    study = xr.Dataset(
        {"log_p_joint": (dims, values[None, None, None, None])},
        {
            "dataset": ["digits"],
            "architecture": ["tiny"],
            "n": [1],
            "replicate": [0],
            "A": [0, 1],
            "coarse_accuracy": grid,
        },
    )
    table = rows(charts.draw_chart("joint_density", study))
    cells = {(row["end"], round(row["top"], 3)): row["value"] for row in table if "end" in row}
    assert len(cells) == 8 and cells[0.5, 0.625] == round(np.log(0.4), 2)
    ridge = {row["A"]: row["accuracy"] for row in table if "end" not in row}
    assert ridge == {0: pytest.approx(0.5), 1: pytest.approx(0.6875)}


def test_cases_are_compared_where_there_are_two(tmp_path, study):
    """ln V is 1 - 0.6 n: (0.6 n - 1) / n nats for each example."""
    two = study_of(
        tmp_path, *(each for name in "ab" for each in (run("gd", GD, name), _rewl(name)))
    )
    table = [row for row in rows(charts.draw_chart("comparison", two)) if "label" in row]
    assert {row["label"] for row in table} == {"a · simple_cnn", "b · simple_cnn"}
    values = [row["value"] for row in table if row["n"] == 40 and row["label"][0] == "b"]
    assert values == pytest.approx([23 / 40, np.mean(REWL[40]), 0.04])
    assert "comparison" in shown(two) and "comparison" not in shown(study)


def _rewl(dataset="digits", architecture="simple_cnn", table=REWL):
    _, _, *rest = rewl(table)
    return dataset, architecture, *rest


def test_architectures_are_compared_on_the_same_training_sets(tmp_path, study):
    """The typical interpolator of the wide network does worse by 0.02 at n = 10, alike at 40."""
    worse = {10: [0.37, 0.41], 40: REWL[40]}
    narrow = [run("gd", GD, architecture="a_narrow"), _rewl(architecture="a_narrow")]
    wide = [run("gd", GD, architecture="wide"), _rewl(architecture="wide", table=worse)]
    two = study_of(tmp_path, *narrow, *wide)
    table = [row for row in rows(charts.draw_chart("contrast", two)) if "label" in row]
    values = {(row["sampler"], row["n"]): row["value"] for row in table}
    assert values == pytest.approx(
        {("gd", 10): 0, ("gd", 40): 0, ("rewl", 10): -0.02, ("rewl", 40): 0}, abs=1e-9
    )
    assert "contrast" in shown(two) and "contrast" not in shown(study)
    compared, alone = contrasts.contrasts_of(two), contrasts.contrasts_of(study)
    (_, which, n, _, typical, trained, advantage), _ = contrasts.table(two, compared)
    assert (which, n) == ("wide less a_narrow", 10)
    assert typical.startswith("−0.020 [") and trained.startswith("+0.000")
    assert advantage.startswith("+0.020 [")
    assert contrasts.table(study, alone) == [] and contrasts.words(study, alone) == ""
    words = "accuracy of typical interpolators −0.020 to +0.000 (0 of 2 resolved)"
    said = contrasts.words(two, compared)
    assert words in said and "advantage of GD at best validation +0.000 to +0.020 (" in said
    html = page.render(two, None, "")
    assert words in html and "wide less a_narrow" in html


# ---- the catalogue -------------------------------------------------------------------------------


def test_every_chart_has_a_module_and_a_caption_in_the_report_of_snakemake():
    folder = ROOT / "workflow" / "report"
    captions = {chart.name: f"{chart.caption} {MARKS}" for chart in CHARTS.values()}
    job = SimpleNamespace(params=SimpleNamespace(captions=captions))
    for name, chart in CHARTS.items():
        assert find_spec(chart.module), name
        template = Template((folder / f"{name}.rst").read_text())
        assert template.render(snakemake=job) == captions[name]


def test_the_catalogue_is_light():
    script = (
        "import sys, volumetry.report.catalogue; "
        "print(*{'altair', 'xarray', 'scipy', 'torch', 'numba'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", script]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert found.strip() == ""


def test_charts_are_drawn_where_their_samplers_are_run():
    without = [chart.name for chart in of_study(["gd", "rewl"], 1, 2)]
    classified = [name for name, chart in CHARTS.items() if chart.system == "classification"]
    assert without == [
        name for name in classified if name not in ("accuracy_tails", "joint_density")
    ]
    assert of_study(["gd", "rewl", "joint"], 1, 2) == [CHARTS[name] for name in classified]
    sensed = [chart.name for chart in of_study(["guess_and_check"], 1, 2, ["sensing"])]
    assert sensed == ["sensing_loss", "sensing_volume"]
