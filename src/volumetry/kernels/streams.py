"""Numbers of random streams: within a seed, no two walks read the same one.

Each step of a stream has random words of its own (``philox.words``).
"""

from volumetry.kernels.jit import plain

EXCHANGE, MOVES, DRAWS, RELAXATION = 0, 1, 2, 3
"""Kinds of stream of the chains: exchanges of windows, moves in a window, uniform draws, moves of a
member of a population."""

GUESSES = 0
"""The kind of Guess & Check, whose seed is no chain's."""


@plain
def stream(kind, place):
    """The stream of a kind at a place: window + windows * walker set, or the number of a member of
    a population; of draws, 0, and 1 for those that found a population."""
    return kind + 4 * place
