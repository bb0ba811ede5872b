"""A user's own dataset: one .npz file with integer arrays x_train, y_train, x_test, y_test.

x has shape (examples, channels, height, width) or (examples, features) and is used as it is: no
offset, negative values allowed. Labels are 0..K-1 without a gap, or any from 0 where ``classes``
chooses among them.
"""

import zipfile
import zlib
from dataclasses import dataclass
from math import prod

import numpy as np

from volumetry.datasets.dataset import Arrays, Description, count_labels, largest_magnitude
from volumetry.errors import DataError
from volumetry.parameters import parameter

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
# What zipfile and numpy raise on a file that is torn, encrypted or otherwise not as they expect.
_DAMAGE = (OSError, EOFError, ValueError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Options:
    """Of an entry of ``datasets`` in a configuration."""

    path: str = parameter(least=1, about="The .npz file with x_train, y_train, x_test, y_test.")


def describe(spec: dict, data_dir: str | None) -> Description:
    path = spec["path"]
    headers = _headers(path)
    y_train, y_test = _read(path, ["y_train", "y_test"])
    pool_counts, test_counts = count_labels(y_train), count_labels(y_test)
    _check_labels(path, pool_counts, test_counts, spec.get("classes"))
    # The type bounds the values; only where it is wide are the examples themselves read.
    bounds = []
    for name in ("x_train", "x_test"):
        dtype = headers[name][1]
        if dtype.itemsize <= 2:
            bounds.append(max(abs(np.iinfo(dtype).min), np.iinfo(dtype).max))
        else:
            bounds.append(largest_magnitude(_read(path, [name])[0]))
    return Description(headers["x_train"][0][1:], max(bounds), pool_counts, test_counts)


def load(spec: dict, data_dir: str | None) -> Arrays:
    path = spec["path"]
    _headers(path)
    x_train, y_train, x_test, y_test = _read(path, ARRAYS)
    _check_labels(path, count_labels(y_train), count_labels(y_test), spec.get("classes"))
    return Arrays(x_train, y_train, x_test, y_test)


def _headers(path: str) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Check all that can be told without the data; name -> (shape, dtype)."""
    headers = {}
    try:
        with zipfile.ZipFile(path) as archive:
            missing = [name for name in ARRAYS if f"{name}.npy" not in archive.namelist()]
            if missing:
                raise DataError(
                    f"{path} lacks {', '.join(missing)}: it must hold the integer arrays "
                    f"{', '.join(ARRAYS)}; save it with numpy.savez"
                )
            for name in ARRAYS:
                with archive.open(f"{name}.npy") as file:
                    version = np.lib.format.read_magic(file)
                    read = (
                        np.lib.format.read_array_header_1_0
                        if version == (1, 0)
                        else np.lib.format.read_array_header_2_0
                    )
                    shape, _, dtype = read(file)
                    headers[name] = (shape, dtype)
    except _DAMAGE as error:
        raise _unreadable(path, error) from None

    for name, (shape, dtype) in headers.items():
        if dtype.kind not in "iu":
            raise DataError(
                f"{path}: {name} holds {dtype}, it must hold integers; convert it with "
                ".astype(int), after scaling if it holds fractions"
            )
        axes = (2, 4) if name.startswith("x") else (1,)
        if len(shape) not in axes or not prod(shape):
            raise DataError(
                f"{path}: {name} has shape {shape}, it must be "
                + ("(examples,)" if axes == (1,) else "(examples, features) or ")
                + ("" if axes == (1,) else "(examples, channels, height, width)")
                + " with no axis empty; reshape it"
            )
    for part in ("train", "test"):
        n_x, n_y = headers[f"x_{part}"][0][0], headers[f"y_{part}"][0][0]
        if n_x != n_y:
            raise DataError(
                f"{path}: x_{part} has {n_x} examples and y_{part} has {n_y} labels; "
                "they must be as many"
            )
    shapes = [headers[name][0][1:] for name in ("x_train", "x_test")]
    if shapes[0] != shapes[1]:
        raise DataError(
            f"{path}: examples of x_train have shape {shapes[0]}, those of x_test {shapes[1]}; "
            "they must be the same"
        )
    return headers


def _read(path: str, names) -> list[np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return [archive[name] for name in names]
    except _DAMAGE as error:
        raise _unreadable(path, error) from None


def _check_labels(path, pool_counts, test_counts, classes) -> None:
    lowest = min(min(pool_counts), min(test_counts))
    if lowest < 0:
        raise DataError(f"{path}: label {lowest} is negative; number the classes from 0")
    if classes is not None:
        return
    # As many distinct labels as the largest plus one: 0..K-1 without a gap.
    if max(pool_counts) != len(pool_counts) - 1:
        gap = next(label for label in range(max(pool_counts)) if label not in pool_counts)
        raise DataError(
            f"{path}: y_train has labels up to {max(pool_counts)} but none is {gap}; number the "
            "classes 0, 1, 2, ... without a gap, or choose some with the option classes"
        )
    if len(pool_counts) < 2:
        raise DataError(f"{path}: y_train has label 0 alone; give examples of two or more classes")
    if max(test_counts) >= len(pool_counts):
        raise DataError(
            f"{path}: y_test has label {max(test_counts)}, the training labels are "
            f"0..{len(pool_counts) - 1}; remove these examples or add training examples"
        )


def _unreadable(path: str, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path} does not exist: correct `path` of the dataset")
    reason = " ".join(str(error).split())
    return DataError(f"{path} is not a readable .npz file ({reason}): save it again")
