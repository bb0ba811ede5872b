"""The random numbers, against published answers and by chi-squared with fixed seeds.

The chi-squared tests are deterministic: each would fail one seed in 10,000 for a perfect generator.
"""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from volumetry.kernels import philox
from volumetry.kernels.jit import jit
from volumetry.kernels.philox import fill_signs, fill_words, log_uniform
from volumetry.weights.flips import draw_flips

RARE = 1e-4
ANSWERS = [  # counter, key, result: the known answers of Random123 for philox4x32-10
    ("00000000 " * 4, "00000000 " * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff " * 4, "ffffffff " * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@jit
def generate(c0, c1, c2, c3, k0, k1):
    return philox.philox(c0, c1, c2, c3, k0, k1)


@jit
def words(seed, stream, step, block):
    return philox.words(seed, stream, step, block)


@jit
def below(word, limit):
    return philox.below(word, limit)


def parse(text):
    return [np.uint64(int(word, 16)) for word in text.split()]


@jit
def draw_many(seed, stream, n_weights, out, spare):
    for step in range(len(out)):
        spare[step] = draw_flips(seed, stream, step, n_weights, out[step])


@jit
def fill_many(seed, stream, first, out):
    for row in range(len(out)):
        fill_signs(seed, stream, first + row, out[row])


@jit
def logarithms(words):
    out = np.empty(words.size)
    for i in range(words.size):
        out[i] = log_uniform(words[i])
    return out


def draw(seed, stream, n_weights, m, draws):
    out, spare = np.full((draws, m), -1), np.zeros(draws, np.uint64)
    draw_many(np.uint64(seed), stream, n_weights, out, spare)
    return out, spare


def signs(seed, stream, first, shape):
    out = np.zeros(shape, np.int8)
    fill_many(np.uint64(seed), stream, first, out)
    return out


@pytest.mark.parametrize(("counter", "key", "result"), ANSWERS)
def test_known_answers(counter, key, result):
    assert [int(w) for w in generate(*parse(counter), *parse(key))] == parse(result)


def test_words_place_seed_stream_step_and_block_in_key_and_counter():
    seed, step = np.uint64(0x299F31D0_A4093822), np.uint64(0x85A308D3_243F6A88)
    got = words(seed, 0x13198A2E, step, 0x03707344)
    assert [int(w) for w in got] == parse(ANSWERS[2][2])


def test_below_keeps_its_ends():
    top = np.uint64(0xFFFFFFFF)
    for limit in (1, 10, 2**32):
        assert below(np.uint64(0), limit) == 0
        assert below(top, limit) == limit - 1
    assert below(np.uint64(2**31), 10) == 5


def test_logarithms_are_right_and_ascend():
    rng = np.random.default_rng(5)
    ends = np.arange(50_000)
    word = np.concatenate(
        [ends, 2**32 - 1 - ends, rng.integers(0, 2**32, 300_000), 2 ** rng.uniform(0, 32, 100_000)]
    )
    word = np.unique(word.astype(np.uint64))
    assert word[0] == 0 and word[-1] == 2**32 - 1
    got = logarithms(word)
    assert np.abs(got - np.log((word + 0.5) / 2**32)).max() < 1e-11
    assert (np.diff(got) >= 0).all() and got[-1] < 0


def test_logarithms_are_whole_multiples_of_two_to_the_minus_48():
    """So they are exact, and these are the answers of every machine and device."""
    word = np.array([0, 1, 12345, 2**31, 2**32 - 1], np.uint64)
    expected = [-6438418354669476, -6129186486303386, -3591525810500828, -195103586438724, -32674]
    assert (logarithms(word) * 2.0**48).tolist() == expected


def test_signs_are_uniform_in_runs_of_four_and_at_every_position():
    out = signs(7, 2, 0, (2000, 300))
    assert set(np.unique(out)) == {-1, 1}
    bits = out > 0
    nibbles = bits.reshape(-1, 4) @ [1, 2, 4, 8]
    assert stats.chisquare(np.bincount(nibbles, minlength=16)).pvalue > RARE
    z = (bits.sum(axis=0) - 1000) / np.sqrt(2000 / 4)
    assert stats.chi2.sf((z**2).sum(), 300) > RARE
    assert stats.chi2.cdf((z**2).sum(), 300) > RARE  # too even is not random either


def test_a_shorter_array_of_signs_is_a_prefix_of_a_longer_one():
    longest = signs(3, 1, 5, (1, 513))[0]
    for n in (0, 1, 31, 32, 33, 127, 128, 129, 400):
        assert np.array_equal(signs(3, 1, 5, (1, n))[0], longest[:n])


@pytest.mark.parametrize(
    "other", [(4, 1, 5), (2**32 + 3, 1, 5), (3, 2, 5), (3, 1, 6), (3, 1, 2**32 + 5)]
)
def test_signs_differ_by_seed_stream_and_step(other):
    n = 4096
    same = (signs(3, 1, 5, (1, n)) == signs(*other, (1, n))).sum()
    assert abs(same - n / 2) < 4 * np.sqrt(n / 4)


@pytest.mark.parametrize(("n_weights", "m"), [(7, 1), (7, 3), (7, 5), (5, 5), (100_003, 5)])
def test_flips_are_distinct_ascending_and_in_range(n_weights, m):
    flips, _ = draw(1, 1, n_weights, m, 2000)
    assert flips.min() >= 0
    assert flips.max() < n_weights
    assert (np.diff(flips, axis=1) > 0).all()


@pytest.mark.parametrize("m", [1, 3, 5])
def test_flips_are_uniform_over_subsets_and_weights(m):
    subsets = list(combinations(range(7), m))
    flips, _ = draw(11, 4, 7, m, 1000 * len(subsets))
    rows, counts = np.unique(flips, axis=0, return_counts=True)
    assert rows.tolist() == [list(subset) for subset in subsets]
    assert stats.chisquare(counts).pvalue > RARE

    large, _ = draw(11, 4, 1000, m, 40_000)
    counts = np.bincount(large.ravel(), minlength=1000)
    # Draws without replacement vary a little less than independent ones: (N - m) / (N - 1).
    expected = 40_000 * m / 1000
    statistic = ((counts - expected) ** 2).sum() / expected / ((1000 - m) / 999)
    assert RARE < stats.chi2.cdf(statistic, 999) < 1 - RARE


@pytest.mark.parametrize("m", [1, 3, 5])
def test_the_spare_word_is_independent_of_the_flips(m):
    flips, spare = draw(5, 9, 10, m, 20_000)
    assert int(spare[17]) == int(words(np.uint64(5), 9, 17, 0)[3])
    eighth = (spare >> np.uint64(29)).astype(int)
    for position in range(m):
        table = np.zeros((10, 8))
        np.add.at(table, (flips[:, position], eighth), 1)
        table = table[table.any(axis=1)]
        assert stats.chi2_contingency(table).pvalue > RARE


def test_flips_repeat_and_differ_by_seed_stream_and_step():
    first, _ = draw(1, 1, 1000, 3, 50)
    assert np.array_equal(first, draw(1, 1, 1000, 3, 50)[0])
    for other in (draw(2, 1, 1000, 3, 50)[0], draw(1, 2, 1000, 3, 50)[0], np.roll(first, 1, 0)):
        assert (first == other).mean() < 0.1


@jit
def fill(seed, stream, step, out):
    fill_words(seed, stream, step, out)


def test_words_are_filled_block_by_block():
    out = np.zeros((4, 37), np.uint32)
    key = np.uint64(2**63 + 5), 3, np.uint64(2**40 + 1)
    fill(*key, out)
    for block in range(37):
        assert np.array_equal(out[:, block], words(*key, block))
