"""Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405).

A number is a pure function of (key, counter). Keyed by seed, stream and step, a chain is the same
whatever the number of threads, the layout of a batch, or how often it was stopped and resumed.
"""

from decimal import Decimal

import numpy as np

from volumetry.kernels.jit import inlined, jit

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)

_ENTRIES = 256


def _log_table() -> np.ndarray:
    """1 / c for the middle c of each part of [1, 2), in 30 bits, then -ln of those, in 48 bits.

    ``decimal`` rounds correctly, so the table is the same everywhere.
    """
    inverse = [(2**30 * 2 * _ENTRIES) // (2 * _ENTRIES + 2 * i + 1) for i in range(_ENTRIES)]
    log = [round(-(Decimal(value) / 2**30).ln() * 2**48) for value in inverse]
    return np.array(inverse + log, np.int64)


LOG_TABLE = _log_table()
"""int64 (512): what ``log_uniform`` looks up."""

LN_2 = round(Decimal(2).ln() * 2**48)
"""ln 2 in units of 2^-48."""


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
def log_uniform(word):
    """ln u of a uniform u = (word + 1/2) / 2^32, from a 32-bit word; off by less than 1e-11.

    Fixed point throughout, and exact as a float64: the same bits on every machine and device, which
    the exponential and the logarithm of a mathematical library are not.
    """
    # 2 word + 1 = 2^exponent (1 + fraction) is exact as a float64, whose bits tell both.
    bits = np.float64(np.uint64(2) * word + np.uint64(1)).view(np.int64)
    exponent = (bits >> 52) - 1023
    part = (bits >> 44) & (_ENTRIES - 1)
    mantissa = (bits >> 20) & 0xFFFFFFFF | 1 << 32
    # mantissa / c = 1 + r with |r| < 2^-8.9; r - r^2 / 2 + r^3 / 3, the powers from 32 bits of r.
    first = (mantissa * LOG_TABLE[part] - (1 << 62)) >> 14
    r = first >> 16
    square = r * r
    cube = (square >> 32) * r >> 16
    series = first - (square >> 17) + (cube * 21845 >> 16)
    return np.float64(series + LOG_TABLE[_ENTRIES + part] + (exponent - 33) * LN_2) * 2.0**-48


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
