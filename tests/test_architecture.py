"""The rooms of the package: who may import whom is declared in pyproject.toml and holds."""

import ast
import os
import shutil
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import grimp
import pytest
from repository import ROOT

from volumetry.study.registry import METHODS

PACKAGE = ROOT / "src" / "volumetry"


def lint(source: Path) -> subprocess.CompletedProcess:
    """Check the package under ``source`` against the contract."""
    code = (
        "from importlinter.cli import lint_imports as lint; raise SystemExit(lint(no_cache=True))"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("volumetry", cache_dir=None)


def test_the_contract_is_kept():
    result = lint(ROOT / "src")
    assert result.returncode == 0 and "0 broken" in result.stdout, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("runtime/netcdf.py", "from volumetry import kernels"),
        ("estimate/__init__.py", "def late():\n    import volumetry.chains"),
        ("results/__init__.py", "import volumetry.benchmark"),
        ("study/registry.py", "import volumetry.methods.rewl"),
        ("loose.py", ""),
    ],
)
def test_a_broken_contract_is_found(tmp_path, module, statement):
    """Upward, also inside a function; sideways; a sampler that the study loads; a loose module."""
    shutil.copytree(PACKAGE, tmp_path / "volumetry", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "volumetry" / module).open("a") as file:
        file.write(f"\n{statement}\n")
    result = lint(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr


def test_nothing_lies_loose_at_the_top(graph):
    files = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert files == {"__init__.py", "command.py", "errors.py", "parameters.py", "py.typed"}
    # A process that imports the package imports no more: ``volumetry.open`` does when it is called.
    assert graph.find_modules_directly_imported_by("volumetry") == {"volumetry.runtime.netcdf"}


def test_every_room_says_what_lives_there():
    for folder in PACKAGE.iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            assert (folder / "__init__.py").read_text().startswith('"""'), folder.name


def test_no_sampler_imports_another(graph):
    """A change of one concerns its own results alone; what they share has no ``run``."""
    modules = {method.module for method in METHODS.values()}
    for one, other in permutations(modules, 2):
        chain = graph.find_shortest_chain(importer=one, imported=other, as_packages=True)
        assert chain is None, " imports ".join(chain)


LARGEST = {ast.FunctionDef: 80, ast.ClassDef: 250}
LARGEST_FILE = 450
CODE = [path for part in ("src", "tests", "workflow") for path in (ROOT / part).rglob("*.py")]


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_a_class_and_a_function_can_be_read_in_one_go(path):
    text = path.read_text()
    assert text.count("\n") <= LARGEST_FILE
    for node in ast.walk(ast.parse(text)):
        lines = getattr(node, "end_lineno", 0) - getattr(node, "lineno", 0) + 1
        assert lines <= LARGEST.get(type(node), lines), f"{node.name}: {lines} lines"
