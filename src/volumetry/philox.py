"""Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405).

A number is a pure function of (key, counter). Keyed by seed, stream and step, a chain is the same
whatever the number of threads, the layout of a batch, or how often it was stopped and resumed.
"""

import numpy as np

from volumetry.jit import inlined, jit

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)


@inlined
def philox(c0, c1, c2, c3, k0, k1):
    """Four 32-bit words for one 128-bit counter and a 64-bit key.

    All arguments and results are uint64 that hold 32 bits each.
    """
    for _ in range(10):
        p0 = _M0 * c0
        p1 = _M1 * c2
        c0, c1, c2, c3 = (p1 >> _SHIFT) ^ c1 ^ k0, p1 & _LOW, (p0 >> _SHIFT) ^ c3 ^ k1, p0 & _LOW
        k0 = (k0 + _W0) & _LOW
        k1 = (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@inlined
def words(seed, stream, step, block):
    """Four 32-bit words (as uint64) for (seed, stream, step, block).

    ``seed`` is the 64-bit key; ``step`` has 64 bits, ``stream`` and ``block`` 32 each.
    """
    seed, step = np.uint64(seed), np.uint64(step)
    return philox(
        step & _LOW,
        step >> _SHIFT,
        np.uint64(stream) & _LOW,
        np.uint64(block) & _LOW,
        seed & _LOW,
        seed >> _SHIFT,
    )


@inlined
def below(word, limit):
    """An integer in [0, limit) from a 32-bit word; limit at most 2^32 (bias below limit / 2^32)."""
    return np.int64((word * np.uint64(limit)) >> _SHIFT)


@inlined
def uniform(word):
    """A float64 in (0, 1) from a 32-bit word."""
    return (np.float64(word) + 0.5) * 2.0**-32


@inlined
def fill_words(seed, stream, step, out):
    """Fill a uint32 array (4, blocks): column b holds the words of block b."""
    # Vectors of blocks: a compiler sees them only if each of the four words has a row of its own.
    for block in range(out.shape[1]):
        out[0, block], out[1, block], out[2, block], out[3, block] = words(
            seed, stream, step, block
        )


@inlined
def fill_signs(seed, stream, step, out):
    """Fill an int8 array with independent uniform -1 and +1; one bit of the generator each."""
    one = np.uint64(1)
    n = out.size
    for block in range((n + 127) // 128):
        group = words(seed, stream, step, block)
        for part in range(4):
            word = group[part]
            start = block * 128 + part * 32
            for bit in range(max(0, min(32, n - start))):
                out[start + bit] = np.int8(2 * np.int64((word >> np.uint64(bit)) & one) - 1)


@jit
def draw_weights(seed, stream, step, out):
    """``fill_signs`` to be called from Python."""
    fill_signs(seed, stream, step, out)
