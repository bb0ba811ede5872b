"""Numbers of random streams: within a seed, no two walks read the same one.

Each step of a stream has random words of its own (``philox.words``).
"""

from volumetry.kernels.jit import plain

EXCHANGE, MOVES, DRAWS, KINDS = 0, 1, 2, 3
"""Kinds of stream of the chains: exchanges of windows, moves in a window, uniform draws, and the
kinds of the moves."""

MEMBERS = 2**28
"""The place of the first member of a population: beyond those of all windows."""

GUESSES = 0
"""The kind of Guess & Check, whose seed is no chain's."""


@plain
def stream(kind, place):
    """The stream of a kind at a place: window + windows * walker set, 0 where there are none."""
    return kind + 4 * place
