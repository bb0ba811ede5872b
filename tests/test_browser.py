"""The report in a real browser: drawn, hidden, saved, read aloud, printed, and without scripts."""

import csv
import json
import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from made_studies import GD, REWL, rewl, run, study_of
from playwright.sync_api import expect, sync_playwright
from repository import ROOT, Repository

from volumetry.report import page as report

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium or Chrome (Debian: the package chromium)"
)

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SLOW, LONG = pytest.mark.slow, pytest.mark.long
MARKS = ", ".join(f"svg .role-mark.mark-{kind} > *" for kind in ("symbol", "rule", "line"))


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def opened(browser, path, viewport=WIDE, **options):
    """A page of a file in a browser without a network, which may neither complain nor load more."""
    context = browser.new_context(viewport=viewport, offline=True, **options)
    page, complaints, loaded = context.new_page(), [], []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None,
    )
    page.on("request", lambda request: loaded.append(request.url.split(":")[0]))
    page.goto(path.as_uri())
    yield page
    context.close()
    assert not complaints, "\n".join(complaints)
    assert loaded.count("file") == 1 and set(loaded) <= {"file", "data", "blob"}


def draw_all(page):
    """Scroll through the page until every chart is drawn; the charts."""
    places = page.locator(".chart").all()
    for place in places:
        place.scroll_into_view_if_needed()
        drawn(place)
    page.evaluate("scrollTo(0, 0)")
    return places


def drawn(place):
    """Wait until Vega has drawn a chart in its place: marks, in most of its width."""
    expect(place).to_have_class(re.compile("vega-embed"))
    expect(place.locator("svg.marks")).to_have_count(1)
    assert place.locator(MARKS).count() > 0, place.get_attribute("id")
    area, panel = place.locator(".root .background").first.bounding_box(), place.bounding_box()
    assert panel["width"] / 2 < area["width"] < panel["width"], place.get_attribute("id")


def shoot(page, folder, name):
    """A picture of the whole page, for people."""
    folder = Path(os.environ.get("VOLUMETRY_SCREENSHOTS", folder))
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png", full_page=True)


def overflow(page):
    """By how many pixels the page is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


# ---- a study ------------------------------------------------------------------------------------


def counts(accuracy, n_test=1000):
    """How many interpolators have each number of test examples right: those near one accuracy."""
    right = np.arange(n_test + 1)
    spread = np.exp(-(((right / n_test - accuracy) / 0.03) ** 2) / 2)
    return "test_correct", (1000 * spread).astype(np.int64)


def with_tails(study):
    """With the distribution of the accuracy that joint measures, and trained networks in it."""
    centre = study["test_accuracy"].sel(sampler="joint", drop=True)
    log_p = -0.5 * ((study["accuracy"] - centre) / 0.06) ** 2
    trained = study["test_accuracy"].where(study["sampler"].isin(["gd", "sgd"]))
    tails = -0.5 * ((trained - centre) / 0.06) ** 2 - 1
    log_p = log_p.where(log_p > -30).transpose(..., "accuracy")
    return study.assign(log_p_given_fit=log_p, tail_log_volume=tails)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The report of gd, sgd, rewl, joint and Guess & Check on two architectures; a run of rewl did
    not converge."""
    folder = tmp_path_factory.mktemp("study")
    hits = {"log_volume": -4.9, "log_volume_stderr": 0.3, "guesses": 1000, "hits": 7}
    none = {"log_volume_upper": -5.8, "guesses": 1000, "hits": 0, "converged": False}
    runs = [
        run("gd", GD, epochs=1500, first_fit={10: 0.5, 40: 0.68}),
        run("sgd", {10: [0.58, 0.63], 40: [0.72, 0.74]}),
        run("guess_and_check", {10: [0.41, 0.42]}, **hits),
        run("guess_and_check", {40: [np.nan, np.nan]}, **none),
        rewl({10: REWL[10]}, test_counts=counts(0.41)),
        rewl({40: REWL[40]}, test_counts=counts(0.66)),
        run("joint", {n: [q - 0.01 for q in row] for n, row in REWL.items()}, log_volume=-5.0),
        run("gd", {10: [0.5, 0.55], 40: [0.6, 0.62]}, architecture="mlp"),
        run("rewl", {10: [0.4, 0.43]}, architecture="mlp"),
        run("rewl", {40: [0.61, 0.6]}, architecture="mlp", converged=False, verdict="no trip"),
    ]
    study = with_tails(study_of(folder / "runs", *runs))
    place = {"dataset": "digits", "architecture": "simple_cnn", "n": 10, "replicate": 0}
    seconds = [place | {"sampler": "gd", "seconds": 12.5, "max_rss_mb": 321.4}]
    file = folder / "report.html"
    file.write_text(report.render(study, seconds, "seed: 0\n" + "x" * 200), encoding="utf-8")
    return file


# ---- looks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "viewport, scheme",
    [
        pytest.param(WIDE, "light", id="1280-light"),
        pytest.param(NARROW, "dark", id="390-dark"),
        pytest.param(WIDE, "dark", id="1280-dark", marks=SLOW),
        pytest.param(NARROW, "light", id="390-light", marks=SLOW),
    ],
)
def test_every_chart_is_drawn_and_nothing_is_wider_than_the_window(
    browser, path, tmp_path, viewport, scheme
):
    check_looks(browser, path, tmp_path, viewport, scheme)


def check_looks(browser, path, folder, viewport, scheme, name="report", fewest=10):
    with opened(browser, path, viewport, color_scheme=scheme) as page:
        places = draw_all(page)
        assert len(places) == page.locator("script[id$=-spec]").count() > fewest
        for place in places:
            assert place.locator("svg").bounding_box()["width"] <= place.bounding_box()["width"]
        assert overflow(page) == 0
        shoot(page, folder, f"{name}-{viewport['width']}-{scheme}")


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=SLOW)])
@pytest.mark.parametrize(
    "viewport", [pytest.param(NARROW, id="390"), pytest.param(WIDE, id="1280", marks=SLOW)]
)
def test_everybody_can_read_it(browser, path, viewport, scheme):
    check_accessible(browser, path, viewport, scheme)


def check_accessible(browser, path, viewport, scheme):
    with opened(browser, path, viewport, color_scheme=scheme) as page:
        draw_all(page)
        page.locator(".legend button").first.click()
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        found = Axe().run(page).response["violations"]
        grave = [
            (each["id"], node["target"], node["failureSummary"])
            for each in found
            for node in each["nodes"]
            if each["impact"] in ("serious", "critical")
        ]
        assert not grave, "\n".join(map(str, grave))


# ---- what it does -------------------------------------------------------------------------------


def of_series(page, label):
    """How many marks of a series the charts show."""
    return page.locator(".chart .mark-symbol.role-mark > *").evaluate_all(
        "(marks, label) => marks.filter((each) => each.__data__.datum.label === label).length",
        label,
    )


def test_a_legend_hides_a_series_everywhere_and_brings_it_back(browser, path):
    with opened(browser, path) as page:
        draw_all(page)
        buttons = page.locator('.legend button[data-series="GD"]')
        before, others = of_series(page, "GD"), of_series(page, "SGD")
        assert before > 10 and others > 5 and buttons.count() >= 5
        for pressed, count in (("false", 0), ("true", before)):
            buttons.nth(1).click()
            for button in buttons.all():
                expect(button).to_have_attribute("aria-pressed", pressed)
            page.wait_for_function("document.fonts.ready")
            page.wait_for_timeout(300)
            assert (of_series(page, "GD"), of_series(page, "SGD")) == (count, others)


@pytest.mark.slow
def test_a_series_hidden_before_a_chart_is_drawn_is_hidden_in_it(browser, path):
    with opened(browser, path) as page:
        page.locator('.legend button[data-series="GD"]').first.click()
        draw_all(page)
        page.wait_for_timeout(300)
        assert of_series(page, "GD") == 0 < of_series(page, "SGD")


def test_keys_reach_the_legend_and_press_its_buttons(browser, path):
    with opened(browser, path) as page:
        button = page.locator(".legend button").first
        for _ in range(60):
            page.keyboard.press("Tab")
            if button.evaluate("each => each === document.activeElement"):
                break
        for key, pressed in (("Enter", "false"), ("Space", "true")):
            page.keyboard.press(key)
            expect(button).to_have_attribute("aria-pressed", pressed)
        assert button.evaluate("each => getComputedStyle(each).outlineStyle") != "none"


@pytest.mark.parametrize("scheme", ["dark", pytest.param("light", marks=SLOW)])
def test_the_pointer_over_a_mark_shows_its_numbers(browser, path, tmp_path, scheme):
    with opened(browser, path, color_scheme=scheme) as page:
        place = page.locator("#test_accuracy-0")
        place.scroll_into_view_if_needed()
        drawn(place)
        place.locator(".mark-symbol.role-mark > *").first.hover()
        tooltip = page.locator("#vg-tooltip-element")
        expect(tooltip).to_be_visible()
        said = tooltip.inner_text()
        assert "GD" in said and re.search(r"test accuracy\W*0\.\d+", said)
        folder = Path(os.environ.get("VOLUMETRY_SCREENSHOTS", tmp_path))
        page.screenshot(path=folder / f"tooltip-{scheme}.png")


def saved(page, figure, kind):
    """What the button of a figure saves: the name and the bytes of the first file."""
    with page.expect_download() as download:
        page.locator(f'.tools[data-figure="{figure}"] [data-kind="{kind}"]').click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_buttons_save_data_and_images(browser, path, tmp_path):
    with opened(browser, path) as page:
        name, text = saved(page, "log_volume", "csv")
        table = list(csv.DictReader(text.decode().splitlines()))
        tables = [
            rows
            for spec in page.locator("script[id^=log_volume]").all()
            for rows in json.loads(spec.text_content())["datasets"].values()
        ]
        assert name == "log_volume.csv" and len(table) == sum(map(len, tables)) > 5
        known = {(row["n"], row["label"], row["value"]) for row in table}
        assert ("10", "Random interpolator (REWL)", "-5") in known

        name, text = saved(page, "error_bound", "svg")
        root = ElementTree.fromstring(text)
        assert name == "error_bound-0.svg" and root.tag == "{http://www.w3.org/2000/svg}svg"
        words = "".join(root.itertext())
        assert "Upper bound from the log-volume alone" in words and "digits" in words

        name, image = saved(page, "error_bound", "png")
        assert name == "error_bound-0.png" and image[:8] == b"\x89PNG\r\n\x1a\n"
        folder = Path(os.environ.get("VOLUMETRY_SCREENSHOTS", tmp_path))
        (folder / name).write_bytes(image)


# ---- without scripts, and on paper --------------------------------------------------------------


def test_without_scripts_all_of_it_is_there(browser, path, tmp_path):
    check_without_scripts(browser, path, tmp_path)


def check_without_scripts(browser, path, folder, name="report"):
    words = "p:not(.tools), h1, h2, h3, figcaption, li, td, th, dd, pre"
    with opened(browser, path) as page:
        complete = page.locator(words).all_text_contents()
    with opened(browser, path, java_script_enabled=False) as page:
        for place in page.locator(".chart").all():
            assert place.locator("svg").is_visible()
            assert place.locator(MARKS).count() > 0
        assert not any(each.is_visible() for each in page.locator(".tools").all())
        assert page.locator(words).all_text_contents() == complete
        shoot(page, folder, f"{name}-without-scripts")


@pytest.mark.parametrize("scheme", ["dark", pytest.param("light", marks=SLOW)])
def test_it_can_be_printed(browser, path, tmp_path, scheme):
    check_print(browser, path, tmp_path, scheme)


def check_print(browser, path, folder, scheme, name="report"):
    with opened(browser, path, color_scheme=scheme) as page:
        assert page.locator("details[open]").count() == 0 < page.locator("details").count()
        pdf = page.pdf(format="A4")
        assert pdf.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", pdf)) > 1
        assert page.locator("details[open]").count() == page.locator("details").count()
        page.emulate_media(media="print")
        assert not page.locator(".tools").first.is_visible()
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        )
        shoot(page, folder, f"{name}-print-{scheme}")


# ---- studies at the edge ------------------------------------------------------------------------


LONG_NAME = "a_name_of_eighty_characters_that_" + "goes_on_and_on_" * 3 + "x" * 2
CENSORED = {"log_volume_upper": -3.0, "guesses": 100, "hits": 0, "converged": False}
MANY = [
    each
    for number in range(40)
    for each in (
        run("gd", GD, dataset=f"digits_{number}v{number + 1}"),
        run("rewl", REWL, dataset=f"digits_{number}v{number + 1}", log_volume=-5.0),
    )
]


NOWHERE = {n: [np.nan] * 2 for n in GD}
EDGES = {
    "one size": [run("gd", {10: GD[10]}), rewl({10: REWL[10]})],
    "one replicate": [run("gd", {10: [0.6], 40: [0.7]}), rewl({10: [0.4], 40: [0.6]})],
    "one sampler without a fit": [run("gd", GD), run("sgd", NOWHERE, converged=False), rewl()],
    "unconverged": [run("gd", GD, converged=False), rewl(converged=False)],
    "censored": [run("guess_and_check", NOWHERE, **CENSORED)],
    "long names": [
        run("gd", GD, dataset=LONG_NAME, architecture=LONG_NAME),
        run("rewl", REWL, dataset=LONG_NAME, architecture=LONG_NAME, log_volume=-5.0),
    ],
    "40 datasets": MANY,
    "accuracies of 0 and 1": [run("gd", {10: [1.0, 1.0]}), rewl({10: [0.0, 0.0]})],
    "volume at one size": [
        run("rewl", {10: REWL[10]}, log_volume=-5.0),
        run("rewl", {40: REWL[40]}),
    ],
    "volume of one": [run("gd", GD), run("rewl", REWL, log_volume=0.0, log_volume_stderr=0.0)],
}


@pytest.mark.parametrize(
    "name, runs",
    [
        pytest.param("nothing fitted", [run("gd", NOWHERE, converged=False)], id="nothing-fitted"),
        *(
            pytest.param(name, runs, id=name.replace(" ", "-"), marks=SLOW)
            for name, runs in EDGES.items()
        ),
    ],
)
def test_studies_at_the_edge_are_drawn_on_a_small_screen(browser, tmp_path, name, runs):
    file = tmp_path / "report.html"
    study = study_of(tmp_path / "runs", *runs)
    file.write_text(report.render(study, None, "seed: 0"), encoding="utf-8")
    with opened(browser, file, NARROW) as page:
        assert all(page.locator(".headlines > p").all_inner_texts())
        figures = page.locator("figure").all()
        assert len(figures) > 3
        for figure in figures:
            figure.scroll_into_view_if_needed()
            if figure.locator(".chart").count():
                place = figure.locator(".chart").first
                place.scroll_into_view_if_needed()
                drawn(place)
            else:
                assert figure.locator(".panels p").inner_text()
        assert overflow(page) == 0
        assert "NaN" not in page.locator("main").inner_text()
        page.evaluate("scrollTo(0, 0)")
        shoot(page, tmp_path, f"edge-{name.replace(' ', '-')}")


# ---- the studies that are shipped ---------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("smoke", marks=SLOW),
        *(pytest.param(n, marks=LONG) for n in ("config", "tails")),
    ],
)
def test_reports_of_shipped_studies(browser, tmp_path, name):
    """Minutes of sampling first, for all but the smoke study."""
    repository = Repository(tmp_path / "study")
    text = (ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8")
    done = repository.snakemake(text)
    assert done.returncode == 0, done.stderr
    report = repository.path / yaml.safe_load(text)["results_dir"] / "report.html"
    for viewport in (WIDE, NARROW):
        for scheme in ("light", "dark"):
            check_looks(browser, report, tmp_path, viewport, scheme, name, fewest=3)
            check_accessible(browser, report, viewport, scheme)
    check_without_scripts(browser, report, tmp_path, name)
    check_print(browser, report, tmp_path, "dark", name)
    with opened(browser, report) as page:
        places = draw_all(page)
        hidden = page.locator(".legend button").first
        hidden.click()
        expect(hidden).to_have_attribute("aria-pressed", "false")
        assert len(places) == page.locator(".chart svg.marks").count()
