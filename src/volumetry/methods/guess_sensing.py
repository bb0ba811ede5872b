"""Guess & Check of matrix sensing: ``guess_and_check`` has the search, this the guesses."""

import numpy as np

from volumetry.engines.real import draw_weights, initialise, make_real_state
from volumetry.engines.sensing import make_sensing_plan
from volumetry.kernels.jit import jit
from volumetry.kernels.streams import GUESSES, stream
from volumetry.systems.sensing import SensingProblem


class SensingChecker:
    """A network and its measurements, laid out for checking guesses."""

    def __init__(self, problem: SensingProblem):
        """Lay out a problem."""
        p = problem
        edges = np.array([p.epsilon])
        self._plan = make_sensing_plan(p.network, p.matrices, p.values, edges, p.norm)
        self._state = make_real_state(p.network, self._plan.x.shape[1])
        self._size = p.network.n_weights

    def check(self, seed: int, first: int, stop: int) -> np.ndarray:
        """Those of the guesses first..stop - 1 whose training loss is below epsilon, ascending."""
        weights, found = np.empty(self._size, np.float32), np.empty(stop - first, np.int64)
        state = type(self._state)(*map(np.copy, self._state))  # threads check at the same time
        return found[: _check(self._plan, state, weights, np.uint64(seed), first, stop, found)]


@jit
def _check(plan, state, weights, seed, first, stop, found):
    """List those of the guesses first..stop - 1 that fit in ``found``; returns how many."""
    count = 0
    for guess in range(first, stop):
        draw_weights(seed, stream(GUESSES, 0), guess, plan.scale, plan.uniform, weights)
        if initialise(plan, state, weights) == plan.edges.size:
            found[count] = guess
            count += 1
    return count
