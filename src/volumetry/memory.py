"""How much memory a job takes: estimated from its parameters alone, so that a scheduler can be told
before it starts, and compared with what there is before it allocates.
"""

import math
import resource
from pathlib import Path

from volumetry.errors import VolumetryError
from volumetry.networks.architecture import Network

_MB = 1_000_000
_TORCH, _NUMBA = 600 * _MB, 700 * _MB  # a process with its libraries, kernels being compiled
_VALUE = 8  # bytes of an input while a dataset is being read


class MemoryShortage(VolumetryError):
    """A job that would need more memory than there is."""


def estimate_mb(sampler: str, network: Network, n: int, examples: int, n_test: int, parameters):
    """Megabytes to ask for, for one sampler job; generous, since too little ends the job.

    Args:
        n: training examples.
        examples: of the whole dataset, test set included, which every job reads.
        n_test: test examples.
        parameters: mapping, of the sampler.
    """
    features = math.prod(network.input_shape)
    total = 3 * _VALUE * examples * features
    if sampler in ("rewl", "joint"):
        bins = min(parameters.get("bins", 1), n_test + 1)
        span = bins if sampler == "joint" else n
        windows = most_windows(network, span, parameters["window_cost"])
        each = walker_bytes(network, n, n_test if bins > 1 else 0)
        total += _NUMBA + parameters["walkers"] * windows * each
    elif sampler in ("gd", "sgd", "sam"):
        batch = min(n, parameters.get("batch_size", n))
        values = features + sum(layer.outputs for layer in network.linears)
        for stage in network.stages:
            channels, height, width = stage.shape_in
            values += (9 * channels + stage.channels) * height * width
        total += _TORCH + parameters["networks"] * (20 * network.n_weights + 8 * batch * values)
    else:
        total += _NUMBA
    return math.ceil(total / _MB / 100) * 100


def most_windows(network: Network, span: int, window_cost: float) -> int:
    """Windows that ``flat_histogram.plan_windows`` makes at most where labels are random.

    Args:
        span: values of the coordinate.
    """
    nats = min(span * math.log(network.n_classes), network.n_weights * math.log(2))
    return max(1, math.ceil(3 * (span + nats) / window_cost) - 2)


def walker_bytes(network: Network, n: int, n_test: int = 0) -> int:
    """Bytes of one walker on n examples, and on test examples if moves evaluate these too."""
    states = state_bytes(network, n) + (state_bytes(network, n_test) if n_test else 0)
    return states + network.n_weights


def state_bytes(network: Network, n: int) -> int:
    """Bytes of what incremental evaluation keeps of one walker on n examples."""
    pixels = sum(math.prod(stage.shape_out) for stage in network.stages)
    units = sum(layer.outputs for layer in network.linears)
    padded = 1.1 * n + 64
    return int(2 * padded * (network.map_bytes * pixels + network.sum_bytes * units))


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
