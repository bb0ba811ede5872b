"""Which kinds of moves a run makes, and how often: from acceptances and work alone."""

import numpy as np
import pytest
from enumeration import random_problem

from volumetry.methods import rewl
from volumetry.methods.mixing import Proposals
from volumetry.methods.rewl import Parameters as RewlParameters
from volumetry.networks import build_network
from volumetry.systems.classification import Classification, Problem

ANY, THREE, CONV, SINGLE, OUTPUT = range(5)
MADE = 10_000.0
SINGLES = "1 of conv 1", "1 of linear 1", "1 of output"


def system(layers, shape, classes=10):
    network = build_network(layers, shape, classes, 5)
    examples = np.zeros((4, *shape), np.int64), np.zeros(4, np.int64)
    return Classification.over_correct(Problem(network, *examples, *examples, *examples))


@pytest.fixture(scope="module")
def cnn():
    return Proposals.of(system("simple_cnn", (1, 28, 28)), 3)


def share(proposals, acceptance):
    """Shares of moves, and of work, in a window of so many acceptances: (K,) each."""
    made = np.array([np.full(len(acceptance), MADE), MADE * np.array(acceptance)])
    moves = proposals.mix(made[:, None]).share[0]
    work = moves * proposals.work
    return moves, work / work.sum()


@pytest.mark.parametrize(
    ("layers", "shape", "flips", "names"),
    [
        (["conv 2", "linear 9"], (1, 4, 4), 3, ["3 of all", "3 of linear 1", *SINGLES]),
        (["linear 4"], (5,), 1, ["1 of all", "1 of linear 1", "1 of output"]),
        (["linear 4"], (5,), 45, ["45 of all", "1 of linear 1", "1 of output"]),
        ([], (5,), 3, ["3 of all", "1 of all"]),
        ([], (5,), 1, ["1 of all"]),
    ],
)
def test_every_layer_has_moves_of_its_own(layers, shape, flips, names):
    assert [kind.name for kind in Proposals.of(system(layers, shape), flips).kinds] == names


def test_segments_follow_one_another_and_cover_the_weights():
    found = system("simple_cnn_deep", (1, 8, 8))
    ends = np.cumsum([segment.size for segment in found.segments])
    assert [segment.first for segment in found.segments] == [0, *ends[:-1]]
    assert ends[-1] == found.space.size


def test_a_flip_of_a_kernel_is_much_work(cnn):
    work = cnn.work / cnn.work[THREE]
    assert work[CONV] > 50 and work[OUTPUT] < work[SINGLE] < 1 < work[ANY] < 2


def test_small_layers_take_a_quarter_of_the_work_each_where_they_are_accepted(cnn):
    moves, work = share(cnn, [0.8, 0.8, 0.3, 0.9, 0.8])
    assert moves.sum() == pytest.approx(1) and moves[ANY] == pytest.approx(0.05)
    assert work[CONV] + work[OUTPUT] == pytest.approx(0.5, abs=0.06)
    assert work[CONV] == pytest.approx(work[OUTPUT], rel=1e-3)


def test_kernels_are_left_alone_where_they_are_not_accepted(cnn):
    _, work = share(cnn, [0.6, 0.6, 0, 0.85, 0.4])
    assert 0 < work[CONV] < 0.01
    assert 0.25 < work[OUTPUT] < 0.34  # a quarter of what it would be, were kernels of use


@pytest.mark.parametrize(
    ("three", "single", "better"), [(0.9, 0.97, THREE), (0.64, 0.86, THREE), (0.15, 0.52, SINGLE)]
)
def test_the_largest_layer_moves_by_as_many_flips_as_renew_it_fastest(cnn, three, single, better):
    moves, _ = share(cnn, [three, three, 0.0, single, 0.4])
    assert moves[better] == pytest.approx(10 * moves[THREE + SINGLE - better], rel=1e-6)


def test_what_was_never_tried_is_tried(cnn):
    made = cnn.none_made(2)
    assert (cnn.mix(made).share > 1e-4).all()


def test_a_result_tells_how_often_each_kind_was_made():
    quick = RewlParameters(bulk_draws=64, window_cost=6, min_blocks=4, max_blocks=4)
    found = rewl.run(random_problem(6), quick, 1)
    assert found.move_kind.values.tolist() == [
        "3 of all",
        "3 of linear 1",
        "1 of linear 1",
        "1 of output",
    ]
    assert found.move_share.dims == found.move_acceptance.dims == ("window", "move_kind")
    assert np.allclose(found.move_share.sum("move_kind"), 1)
    assert (found.move_share > 0).all() and found.move_share.dtype == float
    total = (found.move_share * found.move_acceptance).sum("move_kind")
    assert np.allclose(total, found.acceptance)
