"""How kernels are compiled, and where the compiled code is kept.

numba's own cache looks only at the file of the function it compiles, so a kernel would keep an old
copy of one it calls from another file; and it looks at the place of that file, so every clone would
compile anew. Here the cache's folder is named after the sources of all kernel modules: an edit of
any of them starts an empty one, and clones share it.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numba as nb
from numba.core import caching, cgutils
from numba.extending import intrinsic, overload, register_jitable
from numba.np.arrayobj import make_array


def _cache_folder() -> Path:
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parents[1].rglob("*.py")):
        text = source.read_bytes()
        if source.name in ("jit.py", "simd.py") or b"from volumetry.kernels.jit import" in text:
            digest.update(text)
    root = os.environ.get("NUMBA_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "volumetry"
    )
    return Path(root) / f"kernels-{digest.hexdigest()[:16]}"


class SharedByClones(caching.UserProvidedCacheLocator):
    """Where numba keeps a kernel: by the place of its module in the package."""

    @classmethod
    def get_suitable_cache_subpath(cls, py_file):
        """A folder for the kernels of a file, relative to that of all."""
        package, path = Path(__file__).resolve().parents[1], Path(py_file).resolve()
        if path.is_relative_to(package):
            return str(path.parent.relative_to(package))
        return super().get_suitable_cache_subpath(py_file)


nb.config.CACHE_DIR = str(_cache_folder())
nb.config.CACHE_LOCATOR_CLASSES = f"{__name__}.{SharedByClones.__qualname__}"

_OPTIONS = {"error_model": "numpy", "nogil": True}
_FROM_KERNELS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

jit = nb.njit(cache=True, **_OPTIONS)
"""A kernel called from Python: releases the interpreter's lock while it runs."""

part = nb.njit(**_OPTIONS, **_FROM_KERNELS)
"""A part of kernels, behind a call.

It compiles faster for having no entry from Python: called from there, it crashes."""

inlined = nb.njit(forceinline=True, **_OPTIONS, **_FROM_KERNELS)
"""A part of kernels, merged into its caller: loops then need no call. None from Python either."""

plain = register_jitable(**_OPTIONS)
"""A function of Python that kernels call too."""


def by_record(function: Callable) -> Callable:
    """A function of kernels with an implementation for each class of its first argument.

    ``function`` says what it does and has no body; ``function.of(Record)`` decorates what does it
    where the first argument is such a named tuple. The choice is made when a kernel is compiled.
    """
    of: dict[type, Callable] = {}

    @overload(function, jit_options=_OPTIONS | _FROM_KERNELS, strict=False)
    def choose(*arguments):
        return of.get(getattr(arguments[0], "instance_class", None))

    function.of = lambda record: lambda done: of.setdefault(record, done)
    return function


@intrinsic
def borrowed(typingctx, array):
    """The array without its reference count, for use while a kernel's caller holds it.

    Counting references atomically at every use costs more than the arithmetic of a small move.
    """

    def codegen(context, builder, signature, args):
        view = make_array(signature.args[0])(context, builder, args[0])
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        return view._getvalue()

    return array(array), codegen
