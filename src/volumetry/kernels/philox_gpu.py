"""``volumetry.kernels.philox`` for kernels on a GPU: the same numbers, bit for bit."""

import triton
import triton.language as tl

from volumetry.kernels.philox import LN_2, LOG_TABLE

_ENTRIES = tl.constexpr(len(LOG_TABLE) // 2)
_LN_2 = tl.constexpr(LN_2)


@triton.jit
def words(seed, stream, step, block):
    """Four 32-bit words (uint32) for (seed, stream, step, block); seed is an int64 tensor."""
    step += tl.zeros((), tl.int64)
    return tl.philox(
        seed,
        step.to(tl.uint32),
        (step >> 32).to(tl.uint32),
        (tl.zeros((), tl.int32) + stream).to(tl.uint32),
        tl.full((), block, tl.uint32),
    )


@triton.jit
def below(word, limit):
    """An int32 in [0, limit) from a 32-bit word; limit below 2^31."""
    return ((word.to(tl.uint64) * limit.to(tl.uint64)) >> 32).to(tl.int32)


@triton.jit
def log_uniform(word, table):
    """ln u of a uniform u = (word + 1/2) / 2^32; ``table`` holds ``philox.LOG_TABLE``."""
    bits = (word.to(tl.int64) * 2 + 1).to(tl.float64).to(tl.int64, bitcast=True)
    exponent = (bits >> 52) - 1023
    part = (bits >> 44) & (_ENTRIES - 1)
    mantissa = (bits >> 20) & 0xFFFFFFFF | 0x100000000
    first = (mantissa * tl.load(table + part) - 0x4000000000000000) >> 14
    r = first >> 16
    square = r * r
    cube = (square >> 32) * r >> 16
    series = first - (square >> 17) + (cube * 21845 >> 16)
    total = series + tl.load(table + _ENTRIES + part) + (exponent - 33) * _LN_2
    return total.to(tl.float64) * 3.552713678800501e-15  # 2^-48
