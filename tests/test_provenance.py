"""Digests follow what code says, and whom it imports."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from volumetry.runtime import provenance
from volumetry.runtime.provenance import code_digest, depends_on, packages

PACKAGE = Path(provenance.__file__).parents[1]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of its own to digest: writes a module's source, and forgets what was read."""
    root = tmp_path / "volumetry"
    monkeypatch.setattr(provenance, "_ROOT", root)

    def write(name, text):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        provenance._imports.cache_clear()
        provenance._code.cache_clear()

    yield write
    provenance._imports.cache_clear()
    provenance._code.cache_clear()


@pytest.mark.parametrize(
    "statement",
    [
        "import volumetry.b.c",
        "from volumetry.b import c",
        "from volumetry.b.c import x",
        "from .b.c import x",
        "from .b import c",
        "def f():\n    from volumetry.b.c import x",
        "import numpy, volumetry.b.c as short",
    ],
)
def test_every_form_of_import_is_followed(package, statement):
    package("b/__init__.py", "")
    package("b/c.py", "import volumetry.d")
    package("d.py", "x = 1")
    package("a.py", statement)
    assert depends_on("volumetry.a") == ["volumetry.a", "volumetry.b.c", "volumetry.d"]


def test_a_package_counts_where_something_of_its_own_is_imported(package):
    package("b/__init__.py", "from volumetry.b.c import x")
    package("b/c.py", "x = 1")
    package("a.py", "from volumetry.b import x, c")
    assert depends_on("volumetry.a") == ["volumetry.a", "volumetry.b", "volumetry.b.c"]
    package("b/__init__.py", "from . import c")
    assert depends_on("volumetry.b") == ["volumetry.b", "volumetry.b.c"]


def test_what_only_logs_is_left_out(package):
    package("runtime/progress.py", "x = 1")
    package("a.py", "import volumetry.runtime.progress")
    assert depends_on("volumetry.a") == ["volumetry.a"]


CODE = '"""Doc."""\n\n\ndef f(x):\n    """Doc."""\n    return x + 1  # why\n'


@pytest.mark.parametrize(
    ("edited", "counts"),
    [
        (CODE.replace("Doc", "Other"), False),
        (CODE.replace("# why", ""), False),
        (CODE.replace("x + 1", "(x\n            + 1)"), False),
        (CODE.replace("x + 1", "x + 2"), True),
        (CODE.replace("def f", "def g"), True),
    ],
)
def test_a_digest_follows_code_alone_also_in_what_is_imported(package, edited, counts):
    package("b.py", CODE)
    package("a.py", "import volumetry.b")
    package("c.py", "x = 1")
    before = code_digest("volumetry.a"), code_digest("volumetry.c")
    package("b.py", edited)
    assert (code_digest("volumetry.a") != before[0]) == counts
    assert code_digest("volumetry.c") == before[1]


def test_scripts_and_templates_count(package, tmp_path):
    package("a/b.py", "x = 1")
    package("a/page.j2", "one")
    script = tmp_path / "script.py"
    script.write_text("from volumetry.a.b import x")
    digests = [code_digest(script)]
    package("a/page.j2", "two")
    digests.append(code_digest(script))
    script.write_text("from volumetry.a.b import x as y")
    package("a/page.j2", "two")
    digests.append(code_digest(script))
    assert len(set(digests)) == 3


def test_sampler_jobs_depend_on_their_own_sampler_only():
    training = depends_on("volumetry.study.job", "volumetry.methods.training")
    assert "volumetry.networks.forward" in training
    others = {"volumetry.methods.rewl", "volumetry.engines.evaluator", "volumetry.study.registry"}
    assert not others & set(training)
    rewl = depends_on("volumetry.study.job", "volumetry.methods.rewl")
    assert "volumetry.engines.evaluator" in rewl and "volumetry.methods.training" not in rewl
    assert not any("report" in name or "results" in name for name in training + rewl)


def test_what_a_parameter_says_of_itself_is_no_code(package):
    declared = 'x: int = parameter(1, minimum=0, unit="a", about="One.")'
    package("a.py", declared)
    before = code_digest("volumetry.a")
    package("a.py", declared.replace('"a"', '"b"').replace("One", "Two"))
    assert code_digest("volumetry.a") == before
    package("a.py", declared.replace("minimum=0", "minimum=1"))
    assert code_digest("volumetry.a") != before


def test_packages_are_those_that_the_code_names(package):
    package("a.py", "import json, numpy.linalg\nfrom sklearn import b\nimport volumetry.b")
    package("b.py", "def f():\n    import xarray as xr\n    import volumetry.c.gpu, volumetry.d")
    package("c/gpu.py", "try:\n    import torch\nexcept ImportError:\n    from .. import b")
    package("d.py", "import volumetry.d_gpu")
    package("d_gpu.py", "import triton")
    on_cpu = ["numpy", "scikit-learn", "xarray"]
    assert packages("volumetry.a") == on_cpu
    assert packages("volumetry.a", device="cuda") == sorted([*on_cpu, "torch", "triton"])


def test_a_run_lists_what_it_uses_whatever_else_is_installed(monkeypatch):
    def version(name):
        assert name not in ("torch", "triton"), "not there"
        return "1.0"

    monkeypatch.setattr(provenance, "version", version)
    for name in ("torch", "triton"):
        monkeypatch.setitem(sys.modules, name, None)  # to import it would fail
    job = "volumetry.study.job"
    rewl, trained = (f"volumetry.methods.{name}" for name in ("rewl", "training"))
    used = ["llvmlite", "netCDF4", "numba", "numpy", "scipy", "threadpoolctl", "xarray"]
    assert provenance.versions(packages(job, rewl)) == dict.fromkeys(used, "1.0")
    assert set(packages(job, rewl, device="cuda")) == {*used, "torch", "triton"}
    for device in ("cpu", "cuda"):
        assert packages(job, trained, device=device) == ["netCDF4", "numpy", "torch", "xarray"]


def test_provenance_names_versions_and_digest():
    attributes = provenance.provenance("abc", ["numpy", "netCDF4"])
    assert attributes["code_digest"] == "abc" and attributes["processor"]
    assert list(json.loads(attributes["versions"])) == ["python", "numpy", "netCDF4"]
    assert attributes == provenance.provenance("abc", ["numpy", "netCDF4"])


def test_the_commit_is_that_of_a_repository_that_tracks_the_package(tmp_path, monkeypatch):
    def git(*command):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        result = subprocess.run(
            ["git", "-C", tmp_path, *identity, *command], check=True, capture_output=True, text=True
        )
        return result.stdout.strip()

    copy = tmp_path / "volumetry" / "provenance.py"
    copy.parent.mkdir()
    shutil.copy(PACKAGE / "runtime" / "provenance.py", copy)
    monkeypatch.setattr(provenance, "_ROOT", copy.parent)
    monkeypatch.setattr(provenance, "__file__", str(copy))
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "of someone else's work")
    assert "commit" not in provenance.provenance("abc", ["numpy"])
    git("add", "volumetry")
    git("commit", "-q", "-m", "the package itself")
    assert provenance.provenance("abc", ["numpy"])["commit"] == git("rev-parse", "HEAD")
