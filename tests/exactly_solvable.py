"""Large problems whose density of states is known in closed form.

In all families the inputs fall into *blocks*, and an example is zero outside its own, but for
inputs that all share. The weights that meet different blocks are independent under the uniform
measure, and so are the blocks, given the weights they share.

Some families are easy, some hard on purpose: what the examples share (output weights, a rule, the
kernel of a convolution) decides ln V, and hardly moves where A is large.
"""

from dataclasses import dataclass, field
from functools import reduce

import numpy as np
from scipy.signal import correlate2d
from scipy.stats import binom, multinomial

from volumetry.networks import build_network
from volumetry.systems.classification import Problem

KERNELS = (2 * (np.arange(512)[:, None] >> np.arange(9) & 1) - 1).reshape(-1, 3, 3)
"""All kernels of one channel."""


@dataclass(frozen=True)
class Solved:
    """A problem and its solution.

    Attributes:
        problem: n training examples, and test examples with blocks of their own.
        log_p: ln Pr[A], (n + 1,).
        accuracy: E[Q | A = n].
        log_q: ln Pr[N Q = 0..N | A = n], (N + 1,); empty where it is of no interest.
        log_parts: ln Pr[A = n and h] for each setting h of what the examples share, such as the
            alignment of a rule, -B..B, or the kernel; empty where they share nothing that is looked
            at.
    """

    problem: Problem
    log_p: np.ndarray
    accuracy: float
    log_q: np.ndarray = field(default_factory=lambda: np.zeros(0))
    log_parts: np.ndarray = field(default_factory=lambda: np.zeros(0))


def perceptron_of_blocks(n: int, d: int, classes: int, spare: int = 40) -> Solved:
    """A perceptron on blocks: all examples independent.

    The logits of an example are independent sums S_k of d signs. Ties go to the lowest class, so
    class y wins with probability

        p_y = sum_s Pr[S = s] Pr[S < s]^y Pr[S <= s]^(K - 1 - y),

    and A is a sum of independent indicators: Pr[A] is the convolution of n pairs (1 - p_y, p_y).
    Nothing is shared with the test examples: E[Q | A] is the mean of their p_y.
    """
    y = np.arange(n + spare) % classes
    win = _win_probabilities(d, classes)
    return Solved(
        _block_problem((), n, spare, d, classes, y), np.log(_sum_of(win[y[:n]])), win[y[n:]].mean()
    )


def perceptron_of_shared_blocks(blocks: int, d: int, kinds: int = 10, seed: int = 0) -> Solved:
    """A perceptron with two classes on blocks of three examples each: correlated examples.

    The examples of a block have inputs -1, 0 and 1 on the same d inputs, and random labels. With
    t_i = (w_i1 - w_i0) / 2 in {-1, 0, 1}, with probabilities 1/4, 1/2, 1/4, example j of a block
    goes to class 1 where D_j = sum_i x_ji t_i > 0, else to class 0. The joint distribution of
    (D_1, D_2, D_3) is found exactly by adding one input after the other, and Pr[A] is the
    convolution of what the blocks make of it. ``kinds`` different blocks take turns. The test
    examples are the training examples with their labels exchanged, so Q = 0 where A = n.
    """
    rng = np.random.default_rng(seed)
    x = rng.integers(-1, 2, (kinds, 3, d))
    y = rng.integers(0, 2, (kinds, 3))
    densities = [_right_of_forms(forms, labels) for forms, labels in zip(x, y)]
    n = 3 * blocks
    columns = np.zeros((n, blocks * d), np.int64)
    for b in range(blocks):
        columns[3 * b : 3 * b + 3, b * d : (b + 1) * d] = x[b % kinds]
    labels = np.concatenate([y[b % kinds] for b in range(blocks)])
    p = reduce(np.convolve, [densities[b % kinds] for b in range(blocks)])
    network = build_network((), (blocks * d,), 2, 1)
    problem = Problem(network, columns, labels, columns, 1 - labels, columns[:0], labels[:0])
    with np.errstate(divide="ignore"):
        return Solved(problem, np.log(p), 0.0)


def _right_of_forms(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distribution of the number of examples of a block that are right: (examples + 1,).

    Args:
        x: inputs, (examples, inputs): example j goes to class 1 where D_j = sum_i x_ji t_i > 0.
        y: labels, (examples,).
    """
    bound = np.abs(x).sum(axis=1)  # of |D|, so that no value leaves the array
    axes = tuple(range(len(x)))
    p = np.zeros(2 * bound + 1)
    p[tuple(bound)] = 1.0
    for column in x.T:
        p = 0.5 * p + 0.25 * (np.roll(p, column, axes) + np.roll(p, -column, axes))
    right = [(np.arange(-b, b + 1) > 0) == label for b, label in zip(bound, y)]
    correct = sum(np.ix_(*(r.astype(int) for r in right)))
    return np.bincount(correct.ravel(), p.ravel(), len(x) + 1)


def hidden_layer_of_blocks(n: int, d: int, hidden: int, spare: int = 40) -> Solved:
    """One hidden layer and two classes on blocks: examples share the output weights v alone.

    A hidden unit is r_j = max(S_j, 0) with S_j a sum of d signs, independent over units and
    examples. The difference of the logits is D = sum_j (v_j1 - v_j0) r_j, where the factor is +2,
    -2 or 0 with probability 1/4, 1/4, 1/2. Given a units with +2 and b with -2, the examples are
    independent and class 1 wins with P1(a, b) = Pr[r_1 + ... + r_a > r'_1 + ... + r'_b], class 0
    otherwise. Hence

        Pr[A] = sum_(a, b) Multinomial(a, b, H - a - b; 1/4, 1/4, 1/2) Pr[A | a, b],

    with Pr[A | a, b] as for independent examples, and E[Q | A = n] is the mean of the win
    probabilities of the test labels over (a, b) with the weights of Pr[n | a, b].
    """
    y = np.arange(n + spare) % 2
    rectified = binom.pmf(np.arange(d + 1), d, 0.5)
    # Values of max(S, 0) from 0 to d; S = d - 2 k.
    unit = np.zeros(d + 1)
    for k, probability in enumerate(rectified):
        unit[max(d - 2 * k, 0)] += probability
    sums = [np.ones(1)]
    for _ in range(hidden):
        sums.append(np.convolve(sums[-1], unit))
    prior, given, tested = [], [], []
    for a in range(hidden + 1):
        for b in range(hidden + 1 - a):
            above = np.concatenate([np.cumsum(sums[a][::-1])[::-1], np.zeros(1)])
            one = sum(
                p * above[min(s + 1, len(above) - 1)] for s, p in enumerate(sums[b])
            )  # Pr[sum of a > sum of b]
            win = np.array([1 - one, one])
            prior.append(multinomial.logpmf([a, b, hidden - a - b], hidden, [0.25, 0.25, 0.5]))
            given.append(_sum_of(win[y[:n]]))
            tested.append(_sum_of(win[y[n:]]))
    problem = _block_problem((f"linear {hidden}",), n, spare, d, 2, y)
    return _average(problem, np.array(prior), np.array(given), np.array(tested))


def perceptron_with_rule(n: int, rule: int, threshold: int, spare: int = 40) -> Solved:
    """A dominant mode that no path of rising A leads to: a rule beside memorising.

    Two classes. All examples share ``rule`` inputs B, each 2 s with s = +-1 the sign of the label,
    and each has one input of its own, K s with K = 2 ``threshold`` - 1. Up to T = threshold - 1 the
    alignment T of the rule helps no example whose own weights are wrong, and one in four are: A
    says nothing of T. From T = threshold on the rule alone decides, and everything fits. Gradients,
    which see margins, find it. The closed form is that of ``_perceptron_of_rule``.
    """
    y = np.arange(n + spare) % 2
    ones = np.ones(len(y), np.int64)
    return _perceptron_of_rule(n, rule, 2 * ones, (2 * threshold - 1) * ones, y)


def perceptron_with_contested_rule(
    n: int, rule: int, threshold: int, contrary: int, spare: int = 40
) -> Solved:
    """A dominant mode that gradients do not find either: some examples contradict the rule.

    The last ``contrary`` of the n training examples have -s on the rule's inputs, and B + 1 on an
    own input, which outdoes all of these. So they can always be memorised, at the price of 1/4 each
    for T > 0 and 3/4 for T < 0, and the mode of the rule stays dominant while ``contrary`` is below
    the number of the others. But the margins of the contrary examples are the smaller ones, so
    gradients hold T near 0 once most others are memorised. The test examples obey the rule.
    """
    contradicts = np.zeros(n + spare, bool)
    contradicts[n - contrary : n] = True
    pull = np.where(contradicts, -1, 2)
    own = np.where(contradicts, rule + 1, 2 * threshold - 1)
    return _perceptron_of_rule(n, rule, pull, own, np.arange(n + spare) % 2)


def _perceptron_of_rule(
    n: int, rule: int, pull: np.ndarray, own: np.ndarray, y: np.ndarray
) -> Solved:
    """A perceptron with two classes on B shared inputs and one input of its own for each example.

    Example e is pull_e s_e on the shared inputs and own_e s_e on its own, with s = 2 y - 1. With
    t_i = (w_i1 - w_i0) / 2 in {-1, 0, 1}, with probabilities 1/4, 1/2, 1/4, the difference of its
    logits is 2 s_e m_e with the margin m_e = pull_e T + own_e t_e, where the alignment T is the sum
    of t_i over the shared inputs: T + B is binomial with 2 B trials of probability 1/2. Ties go to
    class 0, so class 1 is right where m > 0 and class 0 where m >= 0. Given T the examples are
    independent, and right with probability

        p_e(T) = sum_t Pr[t] [m_e > 0, or m_e = 0 and y_e = 0].

    The test examples have inputs of their own.

    Args:
        pull, own, y: of n training examples, and then of the test examples.
    """
    sign = 2 * y - 1
    shared = np.repeat((pull * sign)[:, None], rule, axis=1)
    x = np.concatenate([shared, np.diag(own * sign)], axis=1)
    network = build_network((), (x.shape[1],), 2, int(np.abs(x).max()))
    alignment = np.arange(-rule, rule + 1)
    p = sum(
        probability * (2 * (pull[:, None] * alignment + own[:, None] * t) > -(1 - y)[:, None])
        for t, probability in ((-1, 0.25), (0, 0.5), (1, 0.25))
    )
    prior = binom.logpmf(alignment + rule, 2 * rule, 0.5)
    problem = Problem(network, x[:n], y[:n], x[n:], y[n:], x[:0], y[:0])
    given, tested = (np.array([_sum_of(at) for at in part.T]) for part in (p[:n], p[n:]))
    return _average(problem, prior, given, tested)


def convolution_of_pairs(
    pairs: int, kinds: int = 4, patch: tuple[int, int] = (2, 2), seed: int = 1, spare: int = 10
) -> Solved:
    """A kernel that decides ln V, and that no flip can change once most examples fit.

    One channel and two classes, on pairs of examples as in ``_tiled``, their pixels +-1 and their
    labels random; ``kinds`` different pairs take turns. Given the kernel, the features of a pair
    are known integers r_j, and example j goes to class 1 where sum_f r_jf t_f > 0 with t_f in
    {-1, 0, 1}, as in ``perceptron_of_shared_blocks``: pairs are independent, and Pr[A | kernel] is
    a convolution. A kernel that makes the features of a pair equal is worth a factor of two if
    their labels are equal, and fits nothing if not. All 512 kernels are summed over.
    """
    rng = np.random.default_rng(seed)
    x = np.pad(rng.choice([-1, 1], (kinds, 2, *patch)), ((0, 0), (0, 0), (0, 0), (1, 1)))
    y = rng.integers(0, 2, (kinds, 2))
    right = np.array(
        [
            [_right_of_forms(_features(tile, kernel), label) for tile, label in zip(x, y)]
            for kernel in KERNELS
        ]
    )  # (kernels, kinds, 3)
    kind = np.arange(pairs + spare) % kinds
    given = [reduce(np.convolve, p[kind[:pairs]]) for p in right]
    tested = [reduce(np.convolve, p[kind[pairs:]]) for p in right] if spare else None
    problem = _tiled(x[kind], y[kind], pairs, 1)
    return _average(problem, np.full(512, -9 * np.log(2)), np.array(given), tested)


def convolution_of_pixels(pairs: int, channels: int, rows: int = 3, spare: int = 10) -> Solved:
    """One setting of all kernels, out of 2^(9 channels), holds nearly the whole volume.

    Two classes, on pairs of examples as in ``_tiled``, with ``rows`` rows and a single pixel: -1
    for class 0, 1 for class 1. Of the F = 3 ``rows`` ``channels`` kernel weights that meet it,
    binomially many, k, are +1. A unit pixel has k features that are 1, all others 0, and its
    opposite F - k others; with j active features the logits tie with the probability Pr[S = 0] of a
    sum S of 2 j signs. So, independently given k,

        p_0 = (1 + Pr[S_(F - k) = 0]) / 2    and    p_1 = (1 - Pr[S_k = 0]) / 2.

    Where k = F, class 0 has no features and is right for certain; k = F - 1 gives little of that,
    so nothing leads there. Two channels leave a chance to meet it where A is low, three none.
    """
    relevant = 3 * rows * channels
    k = np.arange(relevant + 1)
    tie = binom.pmf(k, 2 * k, 0.5)
    right = np.stack([1 + tie[::-1], 1 - tie], axis=1) / 2  # (k, class)
    x = np.zeros((2, rows, 3), np.int64)
    x[:, rows // 2, 1] = -1, 1
    tiles, y = pairs + spare, np.arange(2)
    problem = _tiled(np.tile(x, (tiles, 1, 1, 1)), np.tile(y, (tiles, 1)), pairs, channels)
    given = np.array([_sum_of(np.tile(p, pairs)) for p in right])
    tested = np.array([_sum_of(np.tile(p, spare)) for p in right]) if spare else None
    return _average(problem, binom.logpmf(k, relevant, 0.5), given, tested)


def small_convolution(n: int = 12, spare: int = 40, seed: int = 10) -> Solved:
    """A convolution small enough to enumerate, 21 weights, of which few kernels fit at all.

    Two classes, one channel, 2x3 pixels, labels that a network of the same shape gave. The sum runs
    over the 512 kernels and the 3^6 settings of t_f = (w_f1 - w_f0) / 2.
    """
    rng = np.random.default_rng(seed)
    x = rng.integers(-5, 6, (n + spare, 2, 3))
    t = np.indices((3,) * 6).reshape(6, -1) - 1
    p_t = 0.5 ** (6 + np.abs(t).sum(axis=0))
    y = _features(x, rng.choice(KERNELS)) @ rng.choice(t.T) > 0
    given, tested = np.zeros((512, n + 1)), np.zeros((512, spare + 1))
    for kernel, p, q in zip(KERNELS, given, tested):
        right = (_features(x, kernel) @ t > 0) == y[:, None]
        correct, hits = right[:n].sum(axis=0), right[n:].sum(axis=0)
        p += np.bincount(correct, p_t, n + 1)
        fit = correct == n
        q += np.bincount(hits[fit], p_t[fit], spare + 1) / max(p[n], np.finfo(float).tiny)
    x, y = x[:, None], y.astype(np.int64)
    network = build_network(("conv 1",), x.shape[1:], 2, 5)
    problem = Problem(network, x[:n], y[:n], x[n:], y[n:], x[:0], y[:0])
    return _average(problem, np.full(512, -9 * np.log(2)), given, tested)


def _tiled(x: np.ndarray, y: np.ndarray, pairs: int, channels: int) -> Problem:
    """Pairs of images, each zero outside the tile of its pair; a convolution and a linear layer.

    The tiles stand side by side, as high as the images, with an empty column on either side, so the
    features of different pairs share no pixel, and no output weights. The first ``pairs`` are the
    training set and the others the test set; without others the training set is that too.

    Args:
        x, y: tiles (tiles, 2, height, width), and their labels (tiles, 2).
    """
    tiles, _, height, width = x.shape
    images = np.zeros((tiles, 2, height, tiles, width), np.int64)
    images[np.arange(tiles), :, :, np.arange(tiles)] = x
    images, y = images.reshape(2 * tiles, 1, height, tiles * width), y.ravel()
    network = build_network((f"conv {channels}",), images.shape[1:], 2, 1)
    n = 2 * pairs
    tests = slice(n, None) if tiles > pairs else slice(n)
    return Problem(network, images[:n], y[:n], images[tests], y[tests], images[:0], y[:0])


def _features(images: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """What a convolution of one channel makes of images (images, height, width), in rows."""
    convolved = [correlate2d(image, kernel, "same").ravel() for image in images]
    return np.maximum(convolved, 0)


def _average(
    problem: Problem, prior: np.ndarray, given: np.ndarray, tested: np.ndarray | None
) -> Solved:
    """Average over the settings h of what the examples share.

    Pr[A] = sum_h Pr[h] Pr[A | h], and h has the weight Pr[h] Pr[n | h] in the distribution of Q at
    A = n.

    Args:
        prior: ln Pr[h], (settings,).
        given: Pr[A | h], (settings, n + 1).
        tested: Pr[N Q | A = n, h], (settings, N + 1); None where the training set is tested.
    """
    if tested is None:
        tested = np.tile(np.arange(given.shape[1]) == given.shape[1] - 1, (len(given), 1))
    with np.errstate(divide="ignore"):
        log_terms = prior[:, None] + np.log(given)
        log_p = np.logaddexp.reduce(log_terms)
        share = np.exp(log_terms[:, -1] - log_p[-1])
        q = share @ np.asarray(tested)
        log_q = np.log(q)
    accuracy = float(q @ np.arange(len(q))) / (len(q) - 1)
    return Solved(problem, log_p, accuracy, log_q, log_terms[:, -1])


def _win_probabilities(d: int, classes: int) -> np.ndarray:
    pmf = binom.pmf(np.arange(d + 1), d, 0.5)
    below = np.concatenate([[0.0], np.cumsum(pmf)[:-1]])
    return np.array(
        [(pmf * below**y * (below + pmf) ** (classes - 1 - y)).sum() for y in range(classes)]
    )


def _sum_of(probabilities: np.ndarray) -> np.ndarray:
    """Distribution of a sum of independent indicators; all terms positive, so to full precision."""
    return reduce(np.convolve, [np.array([1 - p, p]) for p in probabilities])


def _block_problem(layers, n, spare, d, classes, y) -> Problem:
    x = np.kron(np.eye(n + spare, dtype=np.int64), np.ones(d, np.int64))
    network = build_network(layers, (x.shape[1],), classes, 1)
    return Problem(network, x[:n], y[:n], x[n:], y[n:], x[:0], y[:0])
