"""How the tests are shared out to the processes that run them, one on each core (pytest-xdist)."""

import os

# Each process has one core, and so has what it starts.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

LONGEST = (
    "test_benchmark",  # these two compile kernels that others use after them
    "test_engine",
    "test_workflow",
    "test_joint",
    "test_checkpoint",
    "test_chains_contract",
    "test_gpu",
    "test_rewl",
    "test_browser",
    "test_negative_controls",
    "test_report",
    "test_documentation",
    "test_sensing",
    "test_toy_sampler",
    "test_exactly_solvable",
)
"""A file is run by one process; these come first, so that no long one is left over at the end."""


def pytest_collection_modifyitems(items):
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))
