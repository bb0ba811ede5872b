"""The memory there is, compared with what a job needs before it allocates."""

import resource
from pathlib import Path

from volumetry.errors import VolumetryError


class MemoryShortage(VolumetryError):
    """A job that would need more memory than there is."""


def require(needed: int, what: str, repair: str) -> None:
    """Make sure that so many bytes are free.

    Raises:
        MemoryShortage: they are not; says how many would be needed for ``what``, and ``repair``.
    """
    free = available()
    if needed > free:
        raise MemoryShortage(
            f"{what} would take {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free: "
            f"{repair}"
        )


def available() -> int:
    """Bytes that this process may still take: of the machine, its control group and its limits."""
    limits = [_of_machine(), *_of_groups()]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft - _number(Path("/proc/self/statm")) * resource.getpagesize())
    return max(0, min(limits))


def _of_machine() -> int:
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return 1 << 62


def _of_groups() -> list[int]:
    """What the control groups of this process leave, version 2 of the hierarchy."""
    left = []
    for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
        folder = Path("/sys/fs/cgroup") / line.rpartition(":")[2].lstrip("/")
        for group in (folder, *folder.parents):
            try:
                left.append(_number(group / "memory.max") - _number(group / "memory.current"))
            except (OSError, ValueError):  # no such file, or "max"
                continue
    return left


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii").split()[0])
