"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747) from IDX files.

Each file, gzipped or not, is looked up in ``data_dir/<name>/`` first; else it is downloaded once
into the user's cache. Either way the SHA-256 of the decompressed bytes decides whether it is used.
"""

import gzip
import hashlib
import logging
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from volumetry.datasets.dataset import Arrays, Description
from volumetry.errors import DataError


class Release(NamedTuple):
    """One published set of four IDX files.

    Attributes:
        offset: rounded mean over all training pixels, subtracted from every pixel.
        pool_counts, test_counts: images of each class.
        mirrors: folders on the web that hold the gzipped files, tried in order.
        sha256: file -> SHA-256 of its decompressed bytes.
    """

    offset: int
    pool_counts: list[int]
    test_counts: list[int]
    mirrors: list[str]
    sha256: dict[str, str]


TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
_GZIP = b"\x1f\x8b"

RELEASES = {
    "mnist": Release(
        offset=33,
        pool_counts=[5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        test_counts=[980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
        mirrors=[
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
        ],
        sha256={
            TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ),
    "fashion_mnist": Release(
        offset=73,
        pool_counts=[6000] * 10,
        test_counts=[1000] * 10,
        mirrors=[
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ],
        sha256={
            TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
    ),
}


def describe(spec: dict, data_dir: str | None) -> Description:
    release = RELEASES[spec["source"]]
    for file in release.sha256:
        if path := _found(file, _folder(spec["source"], data_dir)):
            _check_length(path, _length(release, file))
    return Description(
        (1, 28, 28),
        max(release.offset, 255 - release.offset),
        dict(enumerate(release.pool_counts)),
        dict(enumerate(release.test_counts)),
    )


def load(spec: dict, data_dir: str | None) -> Arrays:
    name = spec["source"]
    folder = _folder(name, data_dir)
    files = {file: parse(find(name, file, folder), file) for file in RELEASES[name].sha256}
    x_pool, x_test = (
        files[file][:, None].astype(np.int16) - RELEASES[name].offset
        for file in (TRAIN_IMAGES, TEST_IMAGES)
    )
    return Arrays(x_pool, files[TRAIN_LABELS], x_test, files[TEST_LABELS])


def find(name: str, file: str, folder: Path | None) -> bytes:
    """The decompressed, verified bytes of one file: from ``folder``, the cache, or the web.

    Raises:
        DataError: the file in ``folder`` is damaged, or it is nowhere and cannot be downloaded.
    """
    expected = RELEASES[name].sha256[file]
    if path := _found(file, folder):
        content = _decompress(path)
        if _sha256(content) != expected:
            raise DataError(
                f"{path} is damaged: the SHA-256 of its decompressed bytes is "
                f"{_sha256(content)}, it must be {expected}; replace the file, or remove it "
                "to have it downloaded"
            )
        return content
    return _cached(name, file, folder)


def parse(content: bytes, file: str) -> np.ndarray:
    """Decode an IDX file of unsigned bytes: uint8, of the shape its header gives.

    Raises:
        DataError: the header is not that of such a file, or the length does not fit it.
    """
    n_axes = content[3] if content[:3] == b"\x00\x00\x08" and len(content) > 3 else 0
    start = 4 + 4 * n_axes
    if n_axes and len(content) >= start:
        shape = np.frombuffer(content[4:start], ">u4").tolist()
        if len(content) == start + math.prod(shape):
            return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
    raise DataError(f"{file} is not a whole IDX file of unsigned bytes: replace it")


def _folder(name: str, data_dir: str | None) -> Path | None:
    return Path(data_dir) / name if data_dir else None


def _found(file: str, folder: Path | None) -> Path | None:
    """Where ``folder`` has the file, gzipped or not."""
    paths = (folder / file, folder / f"{file}.gz") if folder else ()
    return next((path for path in paths if path.is_file()), None)


def _length(release: Release, file: str) -> int:
    n = sum(release.pool_counts if file in (TRAIN_IMAGES, TRAIN_LABELS) else release.test_counts)
    return 16 + 28 * 28 * n if file in (TRAIN_IMAGES, TEST_IMAGES) else 8 + n


def _check_length(path: Path, expected: int) -> None:
    """Refuse a file that cannot be whole, without reading all of it."""
    with _readable(path), path.open("rb") as content:
        zipped = content.read(2) == _GZIP
        length = content.seek(0, os.SEEK_END)
        if zipped:
            # A gzip file ends with the length of what it holds.
            content.seek(max(length - 4, 0))
            length = int.from_bytes(content.read(), "little")
    if length != expected:
        raise DataError(
            f"{path} is damaged: it holds {length} bytes, it must hold {expected}; replace the "
            "file, or remove it to have it downloaded"
        )


def _cached(name: str, file: str, folder: Path | None) -> bytes:
    import pooch

    pooch.get_logger().setLevel(logging.ERROR)  # it would advise to pin the hash, as we do
    cache = Path(pooch.os_cache("volumetry")) / name
    path = cache / f"{file}.gz"
    reasons = []
    for mirror in RELEASES[name].mirrors:
        try:
            pooch.retrieve(
                f"{mirror}{path.name}",
                known_hash=None,
                fname=path.name,
                path=cache,
                downloader=pooch.HTTPDownloader(timeout=30),
            )
            content = _decompress(path)
        except (OSError, ValueError, DataError) as error:
            reasons.append(f"{mirror}{path.name}: {type(error).__name__}")
        else:
            if _sha256(content) == RELEASES[name].sha256[file]:
                return content
            reasons.append(f"{mirror}{path.name}: wrong SHA-256")
        path.unlink(missing_ok=True)
    where = folder or f"<data_dir>/{name}"
    raise DataError(
        f"{path.name} of {name} is not in {where} and could not be downloaded "
        f"({'; '.join(reasons)}): put the four files of {name} into {where} and set data_dir in "
        "the configuration to its parent folder, or run once with network access"
    )


def _decompress(path: Path) -> bytes:
    with _readable(path):
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == _GZIP else content


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} is damaged ({error}): replace it, or remove it to have it downloaded"
        ) from None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
