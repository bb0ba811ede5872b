"""``volumetry.kernels.streams`` for kernels on a GPU: the same function, compiled by Triton."""

from types import FunctionType

import triton
import triton.language as tl

from volumetry.kernels import streams

EXCHANGE, MOVES = tl.constexpr(streams.EXCHANGE), tl.constexpr(streams.MOVES)
KINDS = tl.constexpr(streams.KINDS)

# Triton's interpreter wants its language among a function's globals.
stream = triton.jit(FunctionType(streams.stream.__code__, globals()))
