"""Checkpoints: what a job has computed so far, so that one that was killed goes on where it was.

A sampler's work is deterministic, so two kinds of memory are enough. *Records* are the results of
finished steps, in order: a job that is started again recalls them instead of taking the steps, and
arrives where it was by its own code. The *state* is what the next step starts from; only the last
one counts. They are kept in two files: ``NAME.records`` only grows, ``NAME.state`` is replaced at
once and says how many of the records it belongs to. Whatever a kill, a full disk or a torn write
leaves behind is the checkpoint before, or something that is recognised, set aside and not used.

Nothing is unpickled: arrays are stored as numpy stores them, objects not allowed.
"""

import fcntl
import hashlib
import io
import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from volumetry.errors import StorageError, VolumetryError
from volumetry.runtime.files import replacing

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
"""Requests to keep what there is and to end; Slurm sends the first two."""

_MAGIC = b"volumetry checkpoint 1\n"
_LENGTH = struct.Struct("<Q")
_DIGEST = hashlib.sha256().digest_size
_PATIENCE = 8.0

Arrays = dict[str, np.ndarray]


class CheckpointError(VolumetryError):
    """A checkpoint that another process is using."""


class _Unusable(Exception):
    """Why a checkpoint cannot be used."""


class Checkpoint:
    """The records and the state of one job; without a path, nothing outlasts the process."""

    def __init__(self, path: str | os.PathLike | None = None, key: str = "", seconds: float = 60.0):
        """Open what is there, if it belongs to ``key``.

        Args:
            path: of both files, without their endings.
            key: a digest of what the work depends on (``digest``).
            seconds: between two writings; what takes less leaves no checkpoint.

        Raises:
            CheckpointError: another process is using it.
        """
        self.state: Arrays = {}
        self._key, self._seconds = key.encode() + b"\n", seconds
        self._lock, self._kept = threading.Lock(), threading.Event()
        self._wanted = self._complained = False
        self._old: list[Arrays] = []
        self._new: list[Arrays] = []
        self._next = 0
        self._started_at = self._written_at = time.monotonic()
        self._spent = 0.0
        self._path = Path(path) if path is not None else None
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._records_path, self._state_path = (
                self._path.with_name(self._path.name + ending) for ending in (".records", ".state")
            )
            self._records = self._open_records()
            try:
                self._read()
            except _Unusable as reason:
                self._set_aside(str(reason))

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @property
    def spent(self) -> float:
        """Seconds of work, those that led to what was found at the start included."""
        return self._spent + time.monotonic() - self._started_at

    def recall(self) -> Arrays | None:
        """The next record of an earlier process, or None if there is no other."""
        if self._next == len(self._old):
            return None
        record, self._old[self._next] = self._old[self._next], {}
        self._next += 1
        return record

    def add(self, make_record: Callable[[], Arrays], make_state: Callable[[], Arrays]) -> None:
        """Keep the result of a step, and what the next one starts from.

        Both are made now, if at all, of arrays that no later step changes.
        """
        if self._path is None:
            return
        with self._lock:
            self._new.append(make_record())
            self.state = make_state()
            if self._wanted or self._is_time():
                self._write()
        self._kept.set()

    def due(self) -> bool:
        """Whether ``keep`` should be called now; asked between steps that need no record."""
        return self._path is not None and (self._wanted or self._is_time())

    def keep(self, state: Arrays) -> None:
        """Keep a state, and write it at once."""
        if self._path is not None:
            with self._lock:
                self.state = state
                self._write()
            self._kept.set()

    def close(self) -> None:
        """The job is done: write the last state if any was written, and let go."""
        if self._path is not None:
            with self._lock:
                if self._size:
                    self._write()
                self._records.close()
                if not self._size:
                    self._records_path.unlink(missing_ok=True)

    def stop(self, patience: float = _PATIENCE) -> bool:
        """Write what there is, or let the first step end for a while; whether anything is kept."""
        if self._path is None:
            return False
        self._wanted = True
        if not (self._new or self._count or self._records.closed):
            self._kept.clear()
            self._kept.wait(patience)
        with self._lock:
            if self._new and not self._records.closed:
                self._write()
        return bool(self._size)

    def _is_time(self) -> bool:
        return time.monotonic() - self._written_at >= self._seconds

    def _open_records(self) -> BinaryIO:
        # Open until the job ends: the lock goes with it.
        records = open(self._records_path, "a+b")  # noqa: SIM115
        try:
            fcntl.flock(records, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            records.close()
            raise CheckpointError(
                f"{self._records_path} is in use by another process, which computes the same "
                "result: let it finish, or end it"
            ) from None
        except OSError:
            pass  # a file system without locks
        return records

    def _read(self) -> None:
        self._size = self._count = 0
        try:
            with open(self._state_path, "rb") as file:
                self._check_head(file)
                state = _read_record(file)
        except FileNotFoundError:
            return
        self._records.seek(0)
        self._check_head(self._records)
        old = [_read_record(self._records) for _ in range(int(state.pop("records")))]
        self._spent = float(state.pop("seconds"))
        self._size, self._count = self._records.tell(), len(old)
        self.state, self._old = state, old
        _say(f"Going on from the checkpoint {self._path}")

    def _check_head(self, file: BinaryIO) -> None:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise _Unusable("is no checkpoint of this version")
        if file.read(len(self._key)) != self._key:
            raise _Unusable("belongs to other inputs, parameters or code")

    def _set_aside(self, reason: str) -> None:
        _say(f"The checkpoint {self._path} {reason}: it is set aside (.aside); starting afresh")
        self._size = self._count = 0
        self._records.close()
        for path in (self._records_path, self._state_path):
            if path.exists():
                os.replace(path, path.with_name(path.name + ".aside"))
        self._records = self._open_records()

    def _write(self) -> None:
        """Append the new records, then replace the state; after a failure nothing has changed."""
        self._written_at = time.monotonic()
        head = _MAGIC + self._key
        try:
            # Behind the records of the last state may be some that were never confirmed by one.
            self._records.truncate(self._size)
            if not self._size:
                self._records.write(head)
            for record in self._new:
                self._records.write(_pack(record))
            self._records.flush()
            os.fsync(self._records.fileno())
            count = self._count + len(self._new)
            own = {"records": np.array(count), "seconds": np.array(self.spent)}
            with replacing(self._state_path) as temporary:
                temporary.write_bytes(head + _pack(self.state | own))
        except (OSError, StorageError) as error:
            if not self._complained:
                _say(f"No checkpoint could be written ({error}); the job goes on without")
            self._complained = True
            return
        self._size, self._count, self._new = self._records.tell(), count, []
        self._complained = False


def watch(checkpoint: Checkpoint) -> None:
    """From now on, end this process on any of ``SIGNALS``, after keeping what there is.

    The process ends with status 128 + signal, within seconds, whatever its threads are doing. To be
    called from the main thread.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)

    def wait():
        number = os.read(reader, 1)[0]
        kept = checkpoint.stop()
        what = "what was done is kept, run again to go on" if kept else "nothing was kept yet"
        _say(f"Stopped by {signal.Signals(number).name}: {what}")
        sys.stdout.flush()
        os._exit(128 + number)

    threading.Thread(target=wait, daemon=True).start()


def digest(*parts: object) -> str:
    """SHA-256 over arrays (type, shape, content), bytes, and the ``repr`` of anything else."""
    sha = hashlib.sha256()
    for part in _flatten(parts):
        if isinstance(part, np.ndarray):
            sha.update(f"{part.dtype.str}{part.shape}".encode())
            sha.update(np.ascontiguousarray(part).tobytes())
        elif isinstance(part, bytes):
            sha.update(part)
        else:
            sha.update(repr(part).encode())
        sha.update(b";")
    return sha.hexdigest()


def _flatten(parts: Iterable) -> Iterable:
    for part in parts:
        if isinstance(part, (tuple, list)):
            yield from _flatten(part)
        else:
            yield part


def _pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    content = file.getvalue()
    return _LENGTH.pack(len(content)) + hashlib.sha256(content).digest() + content


def _read_record(file: BinaryIO) -> Arrays:
    head = file.read(_LENGTH.size + _DIGEST)
    if len(head) < _LENGTH.size + _DIGEST:
        raise _Unusable("is torn")
    content = file.read(_LENGTH.unpack(head[: _LENGTH.size])[0])
    if hashlib.sha256(content).digest() != head[_LENGTH.size :]:
        raise _Unusable("is torn or damaged")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
