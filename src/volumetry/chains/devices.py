"""How a sampler gets hold of chains on a device."""

from concurrent.futures import Executor

from volumetry.chains.contract import Chains
from volumetry.chains.cpu import CpuChains
from volumetry.systems.system import System
from volumetry.weights.binary import BinaryWeights


def open_chains(
    system: System,
    flips: int,
    sets: int,
    seed: int,
    pool: Executor | None = None,
    device: str = "cpu",
) -> Chains:
    """The chains of a system on a device; what they give does not depend on it.

    Real weights move on the CPU, whatever the device.

    Args:
        flips: weights flipped by a move.
        sets: R.
        seed: 64-bit key of the random numbers.
        pool: where sets run side by side on the CPU; one after the other without.
        device: cpu or cuda.
    """
    if device == "cpu" or not isinstance(system.space, BinaryWeights):
        return CpuChains(system, flips, sets, seed, pool)
    from volumetry.chains.gpu import GpuChains  # needs triton

    return GpuChains(system, flips, sets, seed, device=device)
