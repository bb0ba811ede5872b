"""Rounds of the chain on a CPU: compiled loops over windows, moves and members.

What depends on the space that weights live in, a module for each has for its own buffers
(``window_binary``, ``window_real``).
"""

from volumetry.kernels.jit import by_record, inlined, jit
from volumetry.kernels.philox import log_uniform, words
from volumetry.kernels.streams import EXCHANGE, stream


@by_record
def train_score(buffers, weights, replica):
    """Training examples that weights get right; the values on these become those of ``replica``."""


@by_record
def test_score(buffers, weights, replica):
    """Test examples that weights get right; the values on these become those of ``replica``."""


@by_record
def run_window(buffers, weights, walkers, windows, tally, levels, seed, place, w, moves, pull):
    """Make moves in window w; ``place``: number of the window among those of all walker sets."""


@jit
def observe(buffers, weights, levels, replica, tested):
    """Level and test score of weights; their values become those of ``replica``.

    Without ``tested``, a replica whose level knows nothing of the test set has a score of 0.
    """
    correct = train_score(buffers, weights, replica)
    binned, score = levels.bins > 1, 0
    if binned or tested:
        score = test_score(buffers, weights, replica if binned else 0)
    return correct * levels.bins + (score // levels.width if binned else 0), score


@jit
def run_rounds(
    buffers,
    weights,
    walkers,
    windows,
    tally,
    levels,
    seed,
    walker_set,
    moves,
    test_low,
    test_every,
    pull,
):
    """Run the chain of one set, as ``Chains.advance`` says.

    With several bins every move has evaluated the test set already: ``test_low`` has to be beyond
    the levels and ``test_every`` 0.

    Args:
        seed: 64-bit key of the generator.
        walker_set: number of this walker set, part of every stream.
        moves: int64 (W).
        pull: of this walker set, ``toward`` (n_weights); empty for none.
    """
    n_windows, rounds = tally.trace.shape
    highest = tally.visits.shape[1] - 1
    for turn in range(rounds):
        number = walkers.step[0]
        for w in range(n_windows):
            place = w + n_windows * walker_set
            run_window(
                buffers, weights, walkers, windows, tally, levels, seed, place, w, moves[w], pull
            )
        walkers.step[0] += 1
        for w in range(number % 2, n_windows - 1, 2):
            word = words(seed, stream(EXCHANGE, w + n_windows * walker_set), number, 0)[0]
            _try_exchange(walkers, windows, tally, w, log_uniform(word))
        _count_round_trips(walkers, tally)
        everywhere = test_every > 0 and number % test_every == test_every - 1
        for w in range(n_windows):
            replica = walkers.replica[w]
            level = walkers.level[replica]
            tally.trace[w, turn] = level
            if level >= test_low or everywhere:
                hits = test_score(buffers, weights[replica], 0)
                tally.tests[level] += 1
                tally.test_sum[level] += hits
                if level == highest:
                    tally.test_counts[hits] += 1


@jit
def relax_members(
    buffers,
    weights,
    level,
    trace,
    walkers,
    windows,
    tally,
    levels,
    seed,
    first,
    moves,
    test_low,
    test_every,
    pull,
):
    """Run members of a population, each as a walker set of one window, one after another.

    Args:
        weights: (members, n_weights): where they start, and end.
        level, trace: (members), (members, rounds): what is to be filled in.
        walkers, tally: of a set of one window; the walker before its first move.
        first: number of the first member's walker set.
    """
    step = walkers.step[0]
    for r in range(len(weights)):
        walkers.level[0], _ = observe(buffers, weights[r], levels, 0, False)
        walkers.step[:] = step
        run_rounds(
            buffers,
            weights[r : r + 1],
            walkers,
            windows,
            tally,
            levels,
            seed,
            first + r,
            moves,
            test_low,
            test_every,
            pull,
        )
        level[r] = walkers.level[0]
        trace[r] = tally.trace[0]


@inlined
def _try_exchange(walkers, windows, tally, w, log_u):
    """Exchange the replicas of windows w and w + 1 with the Metropolis probability."""
    a, b = walkers.replica[w], walkers.replica[w + 1]
    lower, upper = windows.log_weight[w], windows.log_weight[w + 1]
    x, y = walkers.level[a], walkers.level[b]
    tally.attempts[w] += 1
    change = lower[y] + upper[x] - lower[x] - upper[y]
    if change >= 0 or log_u < change:
        walkers.replica[w], walkers.replica[w + 1] = b, a
        tally.exchanges[w] += 1


@inlined
def _count_round_trips(walkers, tally):
    last = walkers.replica.size - 1
    bottom, top = walkers.replica[0], walkers.replica[last]
    if last > 0:
        if walkers.heading[bottom] == 1:
            tally.round_trips[bottom] += 1
        walkers.heading[bottom] = -1
        if walkers.heading[top] == -1:
            walkers.heading[top] = 1
