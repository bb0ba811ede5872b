"""Large problems whose density of states is known in closed form.

In all families the inputs fall into *blocks*, and an example is zero outside its own. The weights
that meet different blocks are independent under the uniform measure, and so are the blocks, given
the weights they share.
"""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy.stats import binom, multinomial

from volumetry.networks import build_network
from volumetry.systems.classification import Problem


@dataclass(frozen=True)
class Solved:
    """A problem and its solution.

    Attributes:
        problem: n training examples, and test examples with blocks of their own.
        log_p: ln Pr[A], (n + 1,).
        accuracy: E[Q | A = n].
    """

    problem: Problem
    log_p: np.ndarray
    accuracy: float


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
    densities = [_three_forms(forms, labels) for forms, labels in zip(x, y)]
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


def _three_forms(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distribution of the number of correct examples of a block: (4,)."""
    d = x.shape[1]
    p = np.zeros((2 * d + 1,) * 3)
    p[d, d, d] = 1.0
    for column in x.T:
        # No value leaves the array: after k inputs |D| is at most k.
        up, down = (np.roll(p, sign * column, (0, 1, 2)) for sign in (1, -1))
        p = 0.5 * p + 0.25 * (up + down)
    value = np.arange(-d, d + 1)
    right = [(value > 0) == label for label in y]
    correct = (
        right[0][:, None, None].astype(int) + right[1][None, :, None] + right[2][None, None, :]
    )
    return np.bincount(correct.ravel(), p.ravel(), 4)


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
    log_terms, accuracies = [], []
    for a in range(hidden + 1):
        for b in range(hidden + 1 - a):
            above = np.concatenate([np.cumsum(sums[a][::-1])[::-1], np.zeros(1)])
            one = sum(
                p * above[min(s + 1, len(above) - 1)] for s, p in enumerate(sums[b])
            )  # Pr[sum of a > sum of b]
            win = np.array([1 - one, one])
            prior = multinomial.logpmf([a, b, hidden - a - b], hidden, [0.25, 0.25, 0.5])
            with np.errstate(divide="ignore"):
                log_terms.append(prior + np.log(_sum_of(win[y[:n]])))
            accuracies.append(win[y[n:]].mean())
    log_terms = np.array(log_terms)
    share = np.exp(log_terms[:, n] - np.logaddexp.reduce(log_terms[:, n]))
    problem = _block_problem((f"linear {hidden}",), n, spare, d, 2, y)
    return Solved(problem, np.logaddexp.reduce(log_terms), float(share @ accuracies))


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
