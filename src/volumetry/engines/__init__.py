"""Exact incremental evaluation: what a few flipped weights change, and nothing else, in numba on
the CPU and in Triton on a GPU. ``networks.forward`` is the yardstick of both. Imports ``networks``,
``weights`` and ``kernels``."""
