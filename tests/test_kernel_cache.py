"""Compiled kernels are kept for all clones of one version, and for none of another."""

import os
import shutil
import subprocess
import sys

from repository import ROOT

KERNEL = """
from volumetry.kernels.jit import jit

@jit
def double(x):
    return {factor} * x
"""
CALL = """
from volumetry.kernels.small import double

print(double(3), *(sum(c.values()) for c in (double.stats.cache_hits, double.stats.cache_misses)))
"""


def call(clone, cache, factor=2):
    """What a kernel in a clone of the package returns, and how often it was found and compiled."""
    package = clone / "volumetry"
    (package / "kernels").mkdir(parents=True)
    for name in ("__init__.py", "errors.py", "kernels/__init__.py", "kernels/jit.py"):
        shutil.copy(ROOT / "src" / "volumetry" / name, package / name)
    (package / "kernels" / "small.py").write_text(KERNEL.format(factor=factor), encoding="utf-8")
    variables = {"PYTHONPATH": str(clone), "XDG_CACHE_HOME": str(cache)}
    told = subprocess.check_output([sys.executable, "-c", CALL], env=os.environ | variables)
    return tuple(map(int, told.split()))


def test_clones_share_kernels_unless_one_is_edited(tmp_path):
    cache = tmp_path / "cache"
    assert call(tmp_path / "one", cache) == (6, 0, 1)
    assert call(tmp_path / "two", cache) == (6, 1, 0)
    assert call(tmp_path / "edited", cache, factor=5) == (15, 0, 1)
