"""The benchmark runs and measures what it says; page and tables show it. No speed is asserted."""

import re
from pathlib import Path
from time import sleep

import numpy as np
import pytest
import torch
import xarray as xr

from volumetry.benchmark import moves, roofline, synthetic
from volumetry.benchmark.baseline import FullForward, GuessInBatches, as_tensor, logits
from volumetry.benchmark.clock import fastest, rates
from volumetry.benchmark.design import DESIGNS
from volumetry.benchmark.run import run
from volumetry.errors import VolumetryError
from volumetry.networks import forward
from volumetry.report import benchmark as page
from volumetry.report.benchmark_tables import TABLES, markdown, refresh
from volumetry.runtime import netcdf
from volumetry.weights.binary import BinaryWeights

pytestmark = pytest.mark.slow  # every kernel, and each kind of baseline

ROOT = Path(__file__).parents[1]
QUICK = DESIGNS["quick"]
LAYERS = [[], ["linear 5"], ["conv 2", "pool", "linear 4"], ["conv 2", "pool", "conv 3"], ["pool"]]


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmark") / "benchmark.nc"
    netcdf.write(run("quick", threads=2, code_digest="0" * 64), path)
    return netcdf.read(path)


# ---- what is measured ---------------------------------------------------------------------------


def test_every_variable_is_complete_and_says_what_it_is(result):
    assert len(result.data_vars) > 15
    for name, variable in result.data_vars.items():
        assert variable.attrs["units"] and variable.attrs["long_name"], name
        assert np.isfinite(variable.values).all(), name
        assert name == "checked_correct" or (variable.values > 0).all(), name
    for name, coordinate in result.coords.items():
        assert coordinate.dtype.kind in "UO" or coordinate.attrs["units"], name


def test_the_file_names_the_machine(result):
    for name in ("processor", "cores", "threads", "memory_gb", "versions", "date", "design"):
        assert result.attrs[name], name


def test_ratios_are_those_of_the_medians(result):
    cell = result.isel(architecture=0, n=0, examples=0)
    ours = cell["moves_per_second"].median()
    plain = cell["baseline_moves_per_second"].median("repetition")
    assert cell["move_speedup"].values == pytest.approx((ours / plain * [1, 2]).values)
    assert cell["fraction_of_limit"] == pytest.approx(ours * cell["move_limit_seconds"])


def test_images_are_like_those_of_mnist():
    x, y = synthetic.make_examples(1000, 28)
    assert x.shape == (1000, 1, 28, 28) and np.bincount(y).tolist() == [100] * 10
    assert x.min() == -33 and x.max() == synthetic.INPUT_BOUND
    assert (x != -33).mean() == pytest.approx(0.19, abs=0.01)
    assert x.mean() == pytest.approx(0, abs=5)


@pytest.mark.parametrize("layers", LAYERS, ids=str)
def test_the_baseline_is_the_network(layers):
    x, y = synthetic.make_examples(30, 8)
    network = synthetic.make_network(layers, 8)
    rng = np.random.default_rng(0)
    weights = np.stack([BinaryWeights(network.n_weights).draw(rng) for _ in range(3)])
    found = logits(network, torch.from_numpy(weights).double(), as_tensor(network, x, torch.double))
    expected = np.stack([forward.logits(network, each, x) for each in weights])
    assert (found.numpy() == expected).all()
    full = FullForward(network, x, y, weights[1], batch=7, dtype=torch.double)
    assert full.count_correct() == forward.count_correct(network, weights[1], x, y)


@pytest.mark.parametrize("with_test", [False, True])
def test_a_free_walk_accepts_every_move_and_counts_right(with_test):
    x, y = synthetic.make_examples(50, 8)
    network = synthetic.make_network("simple_cnn", 8)
    train, test = (x[:30], y[:30]), (x[30:], y[30:])
    walk = moves.FreeWalk(network, train, test, with_test=with_test, bins=21)
    before = walk.weights.copy()
    tally = walk.move(500)
    assert tally.accepted.sum() == 500 and (walk.weights != before).any()
    expected = [forward.count_correct(network, walk.weights, *part) for part in (train, test)]
    assert walk.correct == (expected[0], expected[1] if with_test else 0)


def test_a_baseline_that_disagrees_stops_the_benchmark(monkeypatch):
    monkeypatch.setattr(FullForward, "count_correct", lambda self: -1)
    with pytest.raises(VolumetryError, match="one of them is wrong"):
        moves.measure(QUICK, 1)


def test_guesses_in_batches_find_what_uniform_draws_do():
    x, y = synthetic.make_examples(2, 8, classes=2)
    guesser = GuessInBatches(synthetic.make_network([], 8, 2), x[:1], y[:1], batch=1000)
    torch.manual_seed(0)
    guesser.guess(2)
    assert guesser.hits == pytest.approx(1000, abs=150)


def test_rates_count_units_of_work():
    made = []

    def work(count):
        made.append(count)
        sleep(1e-4 * count)

    found = rates([work], 0.004, 3)
    assert found.shape == (1, 3) and (found < 1e4).all()
    assert made[:2] == [1, 1] and len(set(made[-3:])) == 1
    assert fastest({"slow": lambda: sum(range(100_000)), "fast": lambda: None}) == "fast"


# ---- the count behind the limit -----------------------------------------------------------------


def test_the_kinds_of_a_move_are_all_there_are():
    network = synthetic.make_network("simple_cnn", 28)
    kinds = roofline.kinds_of_move(network)
    assert sum(kinds.values()) == pytest.approx(1)
    assert kinds[0, 3, 0] == pytest.approx((75264 / 75958) ** 3, rel=1e-4)


def test_rows_of_the_typical_move_are_those_counted_by_hand():
    network = synthetic.make_network("simple_cnn", 28)
    steps = roofline.row_steps(network, 600, (0, 3, 0))
    hidden = 3 + 2 * 3  # three columns of inputs, added to sums in place
    # A table of the eight signed sums of three changes; to each class's logit one of these is
    # added. Then the own logit is compared with the largest.
    output = 8 + 10 * 3
    assert sum(step.rows for step in steps) == hidden + output + 2
    narrow = [step for step in steps if step.itemsize == 2]  # inputs, and changes of units
    assert sum(step.rows for step in narrow) == 3 + 8 + 10


def test_a_kernel_of_nine_has_3_3_weights_of_the_rarer_sign():
    assert roofline._rarer(9) == pytest.approx((9 * 1 + 36 * 2 + 84 * 3 + 126 * 4) * 2 / 512)


def test_a_flat_bandwidth_makes_the_limit_bytes_over_bandwidth():
    network = synthetic.make_network("simple_cnn", 12)
    flat = xr.DataArray([2e9, 2e9], {"bandwidth_size": [1e4, 1e8]})
    found = roofline.cost(roofline.row_steps(network, 60, (1, 1, 1)), 60, flat)
    assert found.seconds == pytest.approx(found.bytes / 2e9)


# ---- the page and the tables --------------------------------------------------------------------


def test_the_page_stands_alone_and_shows_every_chart(result):
    html = page.render(result)
    outside = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert not re.search(r"https?://", outside)
    charts = ("moves", "scaling", "guesses", "training", "start_up", "bandwidth")
    for name in charts:
        assert f'id="{name}"' in html and f'id="{name}-spec"' in html
    assert "GPU speed is unmeasured on this machine" in html and 'id="gpu"' not in html
    assert "Its figures mean nothing" in html
    assert "nan" not in outside.lower().split()


def test_a_gpu_is_drawn_where_there_is_one(result):
    walkers = xr.DataArray([1, 64], dims="walkers")
    speed = 1e5 * walkers * xr.ones_like(result["repetition"], float)
    measured = xr.Dataset(
        {"gpu_moves_per_second": speed, "gpu_bandwidth_fraction": walkers / 100},
        {"walkers": walkers},
    )
    html = page.render(result.merge(measured))
    assert 'id="gpu-spec"' in html and "unmeasured" not in html


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_a_cell_for_each_column(result, name):
    table = TABLES[name](result)
    assert table.rows and {len(row) for row in table.rows} == {len(table.header)}
    assert len(markdown.table(*table).splitlines()) == len(table.rows) + 2


def test_documents_are_refreshed_from_a_run(result):
    named = set()
    for name in ("README.md", "docs/speed.md"):
        text = (ROOT / name).read_text()
        named |= set(re.findall(r"<!-- table: (\w+) -->", text))
        assert text.count("<!-- table: ") == text.count("<!-- end -->") > 0
        fresh = refresh(text, result)
        assert markdown.table(*TABLES["summary"](result)) in fresh or "table: summary" not in text
        assert refresh(fresh, result) == fresh
        assert re.sub(r"\|.*\|", "", fresh).split() == re.sub(r"\|.*\|", "", text).split()
    assert named == set(TABLES)
