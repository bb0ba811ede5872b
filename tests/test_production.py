"""Errors of a production come with the degrees of freedom of the jackknife that decides."""

import numpy as np
import pytest
from scipy import stats

from volumetry.chains.records import new_tally
from volumetry.estimate.production import GROUPS, Production

ROUNDS, SETS = 60, 4


def production(share, blocks=GROUPS):
    """A window of two levels, the upper with ``share`` (SETS, blocks) of the visits.

    The accuracy at the upper level is ``share`` too, of two tests in each block and set.
    """
    tallies = []
    for block in range(blocks):
        tally = new_tally(SETS, 1, 2, 1000, ROUNDS)
        upper = np.rint(share[:, block] * ROUNDS).astype(int)
        # Spread over the block, so that neighbours know nothing of each other.
        order = np.random.default_rng(block).permuted(np.tile(np.arange(ROUNDS), (SETS, 1)), axis=1)
        tally.trace[:, 0] = order < upper[:, None]
        tally.visits[:, 0] = np.stack([ROUNDS - upper, upper], axis=1)
        tally.accepted[:] = ROUNDS
        tally.tests[:, 1] = 2
        tally.test_sum[:, 1] = np.rint(2000 * share[:, block])
        tallies.append(tally._replace(visits=tally.visits.reshape(SETS, 2)))
    tops = {"all": np.random.default_rng(3).choice([-1, 1], (SETS, blocks, 5))}
    return Production(np.zeros((1, 2)), tallies, np.arange(2), None, 1000, tops)


def log_odds(log_p):
    return log_p[1] - log_p[0]


@pytest.mark.parametrize(
    "between, within, df",
    [
        # Sets differ, and stay as they are: four of them say how much.
        (0.1, 0.0, SETS - 1),
        # Stretches differ, and sets average over them: each stretch is one of many.
        (0.0, 0.1, SETS * GROUPS - 1),
    ],
)
def test_the_jackknife_with_the_larger_error_gives_the_degrees_of_freedom(between, within, df):
    share = 0.5 + between * np.array([-1, 1, -1, 1])[:, None] + within * (-1) ** np.arange(GROUPS)
    made = production(share)
    assert made.df(log_odds) == df
    assert made.accuracy_df()[1] == df
    # Errors of a mean of shares, by the delta method: d log-odds = d share / (share (1 - share)).
    parts = share.mean(axis=1) if between else share
    error = parts.std(ddof=1) / np.sqrt(parts.size) / 0.25
    assert made.stderr(log_odds) == pytest.approx(error, rel=0.05)
    assert made.accuracy_stderr()[1] == pytest.approx(error * 0.25, rel=0.05)


def test_intervals_with_their_degrees_of_freedom_cover_where_sets_differ():
    """Slow directions: the spread between four sets is all there is. 1.96 errors are too few."""
    rng = np.random.default_rng(0)
    missed, missed_normal, repeats = 0, 0, 400
    for _ in range(repeats):
        drawn = 0.5 + 0.1 * rng.normal(size=(SETS, 1)) + 0.02 * rng.normal(size=(SETS, GROUPS))
        made = production(drawn)
        z = abs(made.accuracy[1] - 0.5) / made.accuracy_stderr()[1]
        missed += z > stats.t.ppf(0.975, made.accuracy_df()[1])
        missed_normal += z > 1.96
    assert 0.025 < missed / repeats < 0.08
    assert missed_normal / repeats > 0.1


SIDES = np.arange(SETS) % 2 == 1


def agreements(drawn):
    """What ``sets_agree`` and ``sets_agree_on_accuracy`` say of shares."""
    made = production(drawn)
    return made.sets_agree(log_odds, SIDES), made.sets_agree_on_accuracy(1, SIDES)


def test_sets_that_differ_by_chance_agree():
    """Probabilities of a larger F are uniform: 400 of each, in tenths."""
    rng = np.random.default_rng(5)
    drawn = [agreements(0.5 + 0.05 * rng.normal(size=(SETS, GROUPS))) for _ in range(400)]
    for chances in np.array(drawn).reshape(400, -1).T:
        counts = np.histogram(chances, 10, (0, 1))[0]
        assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(
    ("shift", "sides_agree"), [([-1, 1, -1, 1], False), ([-1, -1, 1, 1], True), ([0] * 4, True)]
)
def test_sets_that_differ_by_more_than_they_fluctuate_are_noticed(shift, sides_agree):
    noise = 0.02 * np.random.default_rng(6).normal(size=(SETS, GROUPS))
    for agreement in agreements(0.5 + 0.08 * np.array(shift)[:, None] + noise):
        assert (agreement.sides > 1e-3) == sides_agree
        assert (agreement.sets > 1e-3) == (shift == [0] * 4)


def test_sets_that_all_say_the_same_agree():
    assert agreements(np.full((SETS, GROUPS), 0.5)) == ((1.0, 1.0), (1.0, 1.0))


def test_with_a_single_side_there_is_nothing_to_compare():
    drawn = 0.5 + 0.05 * np.random.default_rng(7).normal(size=(SETS, GROUPS))
    assert np.isnan(production(drawn).sets_agree(log_odds, np.zeros(SETS, bool)).sides)


def lineages(tops, round_trips=0):
    share = np.full((SETS, len(tops["kernel"][0])), 0.5)
    made = production(share, share.shape[1])
    tallies = [b._replace(round_trips=np.full((SETS, 1), round_trips)) for b in made.blocks[:1]]
    return Production(
        np.zeros((1, 2)), tallies + made.blocks[1:], np.arange(2), None, 1000, tops
    ).lineages["kernel"]


def test_lineages_are_counted_by_the_autocorrelation_of_the_weights():
    rng, blocks = np.random.default_rng(8), 200
    fresh = rng.choice([-1, 1], (SETS, blocks, 54))
    assert lineages({"kernel": fresh}) == pytest.approx(SETS * blocks, rel=0.2)
    kept = np.repeat(fresh[:, ::20], 20, axis=1)  # renewed after every 20 blocks
    assert lineages({"kernel": kept}) == pytest.approx(SETS * blocks / 20, rel=0.4)
    frozen = np.repeat(fresh[:, :1], blocks, axis=1)
    assert lineages({"kernel": frozen}) == SETS
    # A layer that has but one setting that fits is renewed by replicas that come from far.
    assert lineages({"kernel": np.ones_like(fresh)}, round_trips=3) == SETS + 3 * SETS
