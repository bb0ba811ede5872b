"""Kernels of the chains on a GPU: the moves, exchanges and tests of a round."""

import triton
import triton.language as tl

from volumetry.engines.evaluator_gpu import commit, evaluate, initialise_block
from volumetry.engines.layout_gpu import n_weights, state_of
from volumetry.kernels.philox_gpu import log_uniform, words
from volumetry.kernels.streams_gpu import EXCHANGE, KINDS, MOVES, stream
from volumetry.weights.flips_gpu import draw_flips, draw_kind, flip, gain, shift


@triton.jit(do_not_specialize=["first_place", "n_windows", "n_levels"])
def run_windows(
    examples,
    values,
    test_examples,
    test_values,
    weights,
    walkers,
    windows,
    tally,
    pull,
    moves,
    table,
    seed,
    first_place,
    n_windows,
    n_levels,
    LEVELS: tl.constexpr,
    NET: tl.constexpr,
    MIXED: tl.constexpr,
    FLIPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The moves of one round: a program for each window, whose streams follow ``first_place``."""
    place = tl.program_id(0)
    walker_set = place // n_windows
    w = place % n_windows
    walker = walker_set * n_windows + tl.load(walkers.replica + place).to(tl.int32)
    weights += walker.to(tl.int64) * n_weights(NET)
    values = state_of(values, walker, 0, NET)
    test_values = state_of(test_values, walker, 0, NET)
    log_weight = windows.log_weight + place.to(tl.int64) * n_levels
    visits = tally.visits + place.to(tl.int64) * n_levels
    low = tl.load(windows.low + place).to(tl.int32)
    ln_f = tl.load(windows.ln_f + place)
    interval = tl.load(windows.interval + place)
    seed = tl.load(seed)
    own = tl.cast(first_place, tl.int64) + place
    kinds = windows.mixture.kinds
    level = tl.load(walkers.level + walker).to(tl.int32)
    counter = walkers.step + walker_set * (1 + n_windows) + 1 + w
    first = tl.load(counter)
    last = first + tl.load(moves + w)
    for step in range(first, last):
        until = windows.mixture.until + w * MIXED
        kind = draw_kind(seed, stream(KINDS, own), step, until, MIXED)
        start = tl.load(kinds + 3 * kind).to(tl.int32)
        size = tl.load(kinds + 3 * kind + 1).to(tl.int32)
        flips_of_kind = tl.load(kinds + 3 * kind + 2)
        for i in tl.static_range(len(FLIPS)):
            if flips_of_kind == FLIPS[i]:
                flips, word = draw_flips(seed, stream(MOVES, own), step, size, FLIPS[i])
                flips = shift(flips, start, FLIPS[i])
                level = _make_move(
                    examples,
                    values,
                    test_examples,
                    test_values,
                    weights,
                    flips,
                    word,
                    table,
                    log_weight,
                    low,
                    level,
                    pull,
                    place,
                    tally.changes + place.to(tl.int64) * n_levels,
                    tally.accepted + place * MIXED + kind,
                    LEVELS,
                    NET,
                    FLIPS[i],
                    BLOCK,
                )
        tl.atomic_add(tally.proposed + place * MIXED + kind, 1, sem="relaxed")
        tl.atomic_add(visits + level, 1, sem="relaxed")
        if (ln_f > 0) & (step % interval == 0):
            tl.store(log_weight + level, tl.load(log_weight + level) - ln_f)
        tl.debug_barrier()
    tl.store(counter, last)
    tl.store(walkers.level + walker, level)


@triton.jit
def _make_move(
    examples,
    values,
    test_examples,
    test_values,
    weights,
    flips,
    word,
    table,
    log_weight,
    low,
    level,
    pull,
    place,
    changes,
    accepted,
    LEVELS: tl.constexpr,
    NET: tl.constexpr,
    M: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Propose M flips, and accept them or not; returns the level afterwards.

    Args:
        word: 32 random bits, which decide.
        pull, place: None, or ``toward`` (places, n_weights) and ``strength`` (1); and the row.
        changes, accepted: counters of the moves that change a level, and of those accepted.
    """
    BINS: tl.constexpr = LEVELS[0]
    BIN: tl.constexpr = LEVELS[1]
    correct = evaluate(examples, values, weights, flips, low, NET, M, BLOCK)
    accept = correct >= low
    proposed = tl.where(accept, correct, level)
    if BINS > 1:
        if accept:
            hits = evaluate(test_examples, test_values, weights, flips, 0, NET, M, BLOCK)
            proposed = proposed * BINS + hits // BIN
    changed = proposed != level
    tested = changed if pull is None else accept
    if tested:
        change = tl.load(log_weight + proposed) - tl.load(log_weight + level)
        if pull is not None:
            toward = pull.toward + place.to(tl.int64) * n_weights(NET)
            more = gain(weights, flips, toward, M).to(tl.float64)
            change += tl.load(pull.strength) * more
        accept = (change >= 0) | (log_uniform(word, table) < change)
        if accept:
            tl.atomic_add(changes + level, 1, changed, sem="relaxed")
            level = proposed
    # Nobody reads any more what follows overwrites.
    tl.debug_barrier()
    if accept:
        commit(values, flips, NET, M)
        if BINS > 1:
            commit(test_values, flips, NET, M)
        flip(weights, flips, M)
        tl.atomic_add(accepted, 1, sem="relaxed")
    return level


@triton.jit(do_not_specialize=["n_windows", "n_levels", "turn", "rounds", "test_low", "test_every"])
def exchange(
    walkers,
    windows,
    tally,
    chosen,
    hits,
    table,
    seed,
    n_windows,
    n_levels,
    turn,
    rounds,
    test_low,
    test_every,
    LANES: tl.constexpr,
):
    """End a round: a program for each set exchanges, counts round trips, and chooses what to test.

    ``chosen`` gets the walkers to be tested, by window, and -1 for the others; ``hits`` is zeroed.
    """
    walker_set = tl.program_id(0)
    place0 = walker_set * n_windows
    seed = tl.load(seed)
    step = walkers.step + walker_set * (1 + n_windows)
    number = tl.load(step)
    for w in range((number % 2).to(tl.int32), n_windows - 1, 2):
        place = place0 + w
        a = tl.load(walkers.replica + place)
        b = tl.load(walkers.replica + place + 1)
        x = tl.load(walkers.level + place0 + a)
        y = tl.load(walkers.level + place0 + b)
        lower = windows.log_weight + place.to(tl.int64) * n_levels
        upper = lower + n_levels
        change = tl.load(lower + y) + tl.load(upper + x) - tl.load(lower + x) - tl.load(upper + y)
        word, _, _, _ = words(seed, stream(EXCHANGE, place), number, 0)
        tl.atomic_add(tally.attempts + place, 1, sem="relaxed")
        if (change >= 0) | (log_uniform(word, table) < change):
            tl.store(walkers.replica + place, b)
            tl.store(walkers.replica + place + 1, a)
            tl.atomic_add(tally.exchanges + place, 1, sem="relaxed")
    tl.debug_barrier()
    if n_windows > 1:
        bottom = place0 + tl.load(walkers.replica + place0)
        top = place0 + tl.load(walkers.replica + place0 + n_windows - 1)
        if tl.load(walkers.heading + bottom) == 1:
            tl.atomic_add(tally.round_trips + bottom, 1, sem="relaxed")
        if tl.load(walkers.heading + top) == -1:
            tl.store(walkers.heading + top, 1)
        tl.store(walkers.heading + bottom, -1)
    w = tl.arange(0, LANES)
    inside = w < n_windows
    walker = place0 + tl.load(walkers.replica + place0 + w, inside, 0).to(tl.int32)
    level = tl.load(walkers.level + walker, inside, 0).to(tl.int32)
    tl.store(tally.trace + (place0 + w).to(tl.int64) * rounds + turn, level, inside)
    everywhere = number < 0
    if test_every > 0:
        everywhere = number % test_every == test_every - 1
    wanted = (level >= test_low) | everywhere
    tl.store(chosen + place0 + w, tl.where(wanted, walker, -1), inside)
    tl.store(hits + place0 + w, 0, inside)
    tl.store(step, number + 1)


@triton.jit(do_not_specialize=["count"])
def evaluate_all(
    examples,
    values,
    weights,
    chosen,
    correct,
    count,
    KEEP: tl.constexpr,
    NET: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add to ``correct`` the examples that each of the chosen rows of weights gets right.

    Blocks of examples are shared among the programs. With ``KEEP`` the values are kept, under the
    number of the row; otherwise ``values`` is scratch memory, a block for each program.
    """
    program = tl.program_id(0)
    blocks = tl.cdiv(examples.width, BLOCK)
    for item in range(program, count * blocks, tl.num_programs(0)):
        row = tl.load(chosen + item // blocks)
        if row >= 0:
            start = item % blocks * BLOCK
            own = state_of(values, row if KEEP else program, 0 if KEEP else start, NET)
            e = start + tl.arange(0, BLOCK)
            weight = weights + row.to(tl.int64) * n_weights(NET)
            right = initialise_block(examples, own, weight, e, NET, BLOCK)
            tl.atomic_add(correct + item // blocks, right, sem="relaxed")


@triton.jit(do_not_specialize=["n_windows", "n_levels", "n_test"])
def tally_tests(walkers, tally, chosen, hits, n_windows, n_levels, n_test, LANES: tl.constexpr):
    """Count the tests of a round: a program for each set."""
    walker_set = tl.program_id(0)
    w = tl.arange(0, LANES)
    inside = w < n_windows
    place = walker_set * n_windows + w
    walker = tl.load(chosen + place, inside, -1)
    tested = inside & (walker >= 0)
    hit = tl.load(hits + place, inside, 0)
    level = tl.load(walkers.level + walker, tested, 0)
    tl.atomic_add(tally.tests + walker_set * n_levels + level, 1, tested, sem="relaxed")
    total = tally.test_sum + walker_set * n_levels + level
    tl.atomic_add(total, hit.to(tl.int64), tested, sem="relaxed")
    at_top = tested & (level == n_levels - 1)
    tl.atomic_add(tally.test_counts + walker_set * (n_test + 1) + hit, 1, at_top, sem="relaxed")
