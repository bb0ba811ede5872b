"""Vectors in kernels: 32 integers, loaded from arrays and stored to them.

A compiler vectorises a loop over several rows of one array only behind a run-time check that no
two of them overlap, and beyond a few rows not at all. Kernels that name their vectors need no
check, compile faster, and run the same instructions everywhere; LLVM splits a vector where the
hardware's are shorter.

    for e in range(0, size, LANES):
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

LANES = 32
"""Integers of a vector, of whatever type; rows of arrays have to fill whole vectors."""

ALIGNMENT = 64
"""Bytes: arrays should start on a multiple, so that a vector does not straddle cache lines."""


class Vector(types.Type):
    """``LANES`` integers of one type, in a kernel."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(f"vector({dtype})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, _ir_vector(fe_type.dtype))


def _ir_vector(dtype):
    return ir.VectorType(ir.IntType(dtype.bitwidth), LANES)


def _place(context, builder, array_type, array, index_type, index):
    """Pointer to an element: whole axes count, so no bounds are checked."""
    view = context.make_array(array_type)(context, builder, array)
    indices = cgutils.unpack_tuple(builder, index)
    indices = [
        context.cast(builder, value, kind, types.intp) for value, kind in zip(indices, index_type)
    ]
    return cgutils.get_item_pointer(context, builder, array_type, view, indices, wraparound=False)


def _pointer(context, builder, array_type, array, index_type, index):
    """Pointer to the vector that starts at an element."""
    place = _place(context, builder, array_type, array, index_type, index)
    return builder.bitcast(place, _ir_vector(array_type.dtype).as_pointer())


@intrinsic
def load(typingctx, array, index):
    """The vector of an array that starts at an index (a tuple)."""

    def codegen(context, builder, sig, args):
        place = _pointer(context, builder, array, args[0], index, args[1])
        return builder.load(place, align=array.dtype.bitwidth // 8)

    return Vector(array.dtype)(array, index), codegen


@intrinsic
def store(typingctx, array, index, value):
    """Write a vector to an array, from an index (a tuple) on."""

    def codegen(context, builder, sig, args):
        place = _pointer(context, builder, array, args[0], index, args[1])
        builder.store(args[2], place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, index, value), codegen


@intrinsic
def prefetch(typingctx, array, index):
    """Ask for the vector that starts at an index (a tuple) to be brought near; it may not exist."""

    def codegen(context, builder, sig, args):
        place = _place(context, builder, array, args[0], index, args[1])
        byte, number = ir.IntType(8), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), number, number, number])
        hint = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        place = builder.bitcast(place, byte.as_pointer())
        step = 64
        for line in range(-(-array.dtype.bitwidth // 8 * LANES // step)):
            at = builder.gep(place, [number(line * step)])
            builder.call(hint, [at, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, index), codegen


@intrinsic
def item(typingctx, array, index):
    """One element of an array; unlike array[index] it takes no negative index, nor time for it."""

    def codegen(context, builder, sig, args):
        place = _place(context, builder, array, args[0], index, args[1])
        value = builder.load(place)
        return context.cast(builder, value, array.dtype, types.intp)

    return types.intp(array, index), codegen


@intrinsic
def convert(typingctx, vector, array):
    """The vector in the type of an array's elements, which has to hold its values."""

    def codegen(context, builder, sig, args):
        if vector.dtype.bitwidth > array.dtype.bitwidth:
            return builder.trunc(args[0], _ir_vector(array.dtype))
        return builder.sext(args[0], _ir_vector(array.dtype))

    return Vector(array.dtype)(vector, array), codegen


@intrinsic
def splat(typingctx, array, number):
    """A vector, in the type of an array's elements, with one number everywhere."""

    def codegen(context, builder, sig, args):
        value = context.cast(builder, args[1], number, array.dtype)
        vector, index = _ir_vector(array.dtype), ir.IntType(32)
        one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, index(0))
        order = ir.Constant(ir.VectorType(index, LANES), [0] * LANES)
        return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), order)

    return Vector(array.dtype)(array, number), codegen


@intrinsic
def maximum(typingctx, a, b):
    """Larger of two vectors, element by element."""

    def codegen(context, builder, sig, args):
        return builder.select(builder.icmp_signed(">", *args), *args)

    return a(a, b), codegen


@intrinsic
def is_above(typingctx, a, b):
    """1 where the first vector is above the second, 0 elsewhere."""

    def codegen(context, builder, sig, args):
        return builder.zext(builder.icmp_signed(">", *args), _ir_vector(a.dtype))

    return a(a, b), codegen


@intrinsic
def where_equal(typingctx, a, b, value, otherwise):
    """``value`` where two vectors are equal, ``otherwise`` elsewhere."""

    def codegen(context, builder, sig, args):
        return builder.select(builder.icmp_signed("==", args[0], args[1]), args[2], args[3])

    return value(a, b, value, otherwise), codegen


@intrinsic
def where_bit(typingctx, bits, value, otherwise):
    """``value`` where the bit of the element's number is set in an integer, else ``otherwise``."""

    def codegen(context, builder, sig, args):
        low = builder.trunc(args[0], ir.IntType(LANES))
        mask = builder.bitcast(low, ir.VectorType(ir.IntType(1), LANES))
        return builder.select(mask, args[1], args[2])

    return value(types.intp, value, otherwise), codegen


@intrinsic
def count_at_least(typingctx, a, b):
    """In how many elements the first vector is not below the second."""

    def codegen(context, builder, sig, args):
        mask = builder.icmp_signed(">=", *args)
        bits = builder.bitcast(mask, ir.IntType(LANES))
        return builder.zext(builder.ctpop(bits), ir.IntType(64))

    return types.int64(a, b), codegen


@intrinsic
def any_set(typingctx, a):
    """Whether any element of a vector is not zero."""

    def codegen(context, builder, sig, args):
        mask = builder.icmp_signed("!=", args[0], ir.Constant(_ir_vector(a.dtype), None))
        bits = ir.IntType(LANES)
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
