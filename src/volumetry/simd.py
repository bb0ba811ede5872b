"""Vectors in kernels: 64 bytes of integers, loaded from arrays and stored to them.

A compiler vectorises a loop over several rows of one array only behind a run-time check that no
two of them overlap, and beyond a few rows not at all. Kernels that name their vectors need no
check, compile faster, and run the same instructions everywhere; LLVM splits a vector where the
hardware's are shorter.

    for e in range(0, size, lanes(sums)):
        store(sums, (new, e), load(sums, (old, e)) + splat(sums, w) * load(change, (0, e)))

Sums wrap around as integers of their type do.
"""

import operator

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

BYTES = 64
"""Size of a vector; arrays have to start on a multiple of it, and rows to fill whole vectors."""


class Vector(types.Type):
    """``BYTES`` of integers of one type, in a kernel."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(f"vector({dtype})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, _ir_vector(fe_type.dtype))


def _lanes(dtype) -> int:
    return BYTES * 8 // dtype.bitwidth


def _ir_vector(dtype, lanes=None):
    return ir.VectorType(ir.IntType(dtype.bitwidth), lanes or _lanes(dtype))


def _pointer(context, builder, array_type, array, index_type, index, vector):
    """Pointer to the vector that starts at an index: whole axes count, so no bounds are checked."""
    view = context.make_array(array_type)(context, builder, array)
    indices = cgutils.unpack_tuple(builder, index)
    indices = [
        context.cast(builder, value, kind, types.intp) for value, kind in zip(indices, index_type)
    ]
    place = cgutils.get_item_pointer(context, builder, array_type, view, indices, wraparound=False)
    return builder.bitcast(place, vector.as_pointer())


@intrinsic
def lanes(typingctx, array):
    """How many elements of an array make a vector."""

    def codegen(context, builder, sig, args):
        return context.get_constant(types.intp, _lanes(array.dtype))

    return types.intp(array), codegen


@intrinsic
def load(typingctx, array, index):
    """The vector of an array that starts at an index (a tuple)."""

    def codegen(context, builder, sig, args):
        vector = _ir_vector(array.dtype)
        place = _pointer(context, builder, array, args[0], index, args[1], vector)
        return builder.load(place, align=array.dtype.bitwidth // 8)

    return Vector(array.dtype)(array, index), codegen


@intrinsic
def load_like(typingctx, array, index, like):
    """As many elements as make a vector of the array ``like``, converted to its type."""

    def codegen(context, builder, sig, args):
        narrow = _ir_vector(array.dtype, _lanes(like.dtype))
        place = _pointer(context, builder, array, args[0], index, args[1], narrow)
        value = builder.load(place, align=array.dtype.bitwidth // 8)
        if array.dtype.bitwidth == like.dtype.bitwidth:
            return value
        return builder.sext(value, _ir_vector(like.dtype))

    return Vector(like.dtype)(array, index, like), codegen


@intrinsic
def store(typingctx, array, index, value):
    """Write a vector to an array, from an index (a tuple) on."""

    def codegen(context, builder, sig, args):
        vector = _ir_vector(array.dtype)
        place = _pointer(context, builder, array, args[0], index, args[1], vector)
        builder.store(args[2], place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, index, value), codegen


@intrinsic
def splat(typingctx, array, number):
    """A vector, for the array's type, with one number everywhere."""

    def codegen(context, builder, sig, args):
        value = context.cast(builder, args[1], number, array.dtype)
        return _splat(builder, value, _ir_vector(array.dtype))

    return Vector(array.dtype)(array, number), codegen


def _splat(builder, value, vector):
    index = ir.IntType(32)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, index(0))
    order = ir.Constant(ir.VectorType(index, vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), order)


@intrinsic
def maximum(typingctx, a, b):
    """Larger of two vectors, element by element."""

    def codegen(context, builder, sig, args):
        return builder.select(builder.icmp_signed(">", *args), *args)

    return a(a, b), codegen


@intrinsic
def where_equal(typingctx, a, b, value, otherwise):
    """``value`` where two vectors are equal, ``otherwise`` elsewhere."""

    def codegen(context, builder, sig, args):
        return builder.select(builder.icmp_signed("==", args[0], args[1]), args[2], args[3])

    return value(a, b, value, otherwise), codegen


@intrinsic
def count_at_least(typingctx, a, b):
    """In how many elements the first vector is not below the second."""

    def codegen(context, builder, sig, args):
        mask = builder.icmp_signed(">=", *args)
        bits = builder.bitcast(mask, ir.IntType(_lanes(a.dtype)))
        return builder.zext(builder.ctpop(bits), ir.IntType(64))

    return types.int64(a, b), codegen


@intrinsic
def any_set(typingctx, a):
    """Whether any element of a vector is not zero."""

    def codegen(context, builder, sig, args):
        mask = builder.icmp_signed("!=", args[0], ir.Constant(_ir_vector(a.dtype), None))
        bits = ir.IntType(_lanes(a.dtype))
        return builder.icmp_signed("!=", builder.bitcast(mask, bits), bits(0))

    return types.boolean(a), codegen


def _define(operation, instruction):
    @infer_global(operation)
    class _(AbstractTemplate):
        def generic(self, args, kws):
            if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
                return signature(args[0], *args)

    @lower_builtin(operation, Vector, Vector)
    def lower(context, builder, sig, args):
        return getattr(builder, instruction)(*args)


for _operation, _instruction in (
    (operator.add, "add"),
    (operator.sub, "sub"),
    (operator.mul, "mul"),
    (operator.or_, "or_"),
):
    _define(_operation, _instruction)
