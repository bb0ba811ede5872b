"""No file is ever unpickled, so that none can bring code along that we would run."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = [path for folder in ("src", "workflow", "tests") for path in (ROOT / folder).rglob("*.py")]
RULES = [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")]

MODULES = {"_pickle", "cloudpickle", "cPickle", "dill", "joblib", "jsonpickle", "pickle", "shelve"}
METHODS = {"read_pickle", "unsafe_load", "full_load", "UnsafeLoader", "FullLoader"}
SAFE = {"allow_pickle": False, "weights_only": True}
LOADERS = {"numpy.load": "allow_pickle", "torch.load": "weights_only"}
"""Functions that must be told not to unpickle, whatever their version takes for granted."""


def offences(source: str) -> Iterator[str]:
    """What of Python source could unpickle."""
    nodes = list(ast.walk(ast.parse(source)))
    names = dict(imported for node in nodes for imported in imports(node))
    safe = set()
    for node in nodes:
        if isinstance(node, ast.Call):
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            if is_safe(LOADERS.get(origin(node.func, names)), given):
                safe.add(node.func)
            yield from (
                f"{key} in line {node.lineno}"
                for key in SAFE.keys() & given.keys()
                if not is_safe(key, given)
            )
            if origin(node.func, names).endswith(("import_module", "__import__")):
                words = [word.value for word in node.args if isinstance(word, ast.Constant)]
                yield from (word for word in words if MODULES & set(str(word).split(".")))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            arguments = node.args.posonlyargs + node.args.args
            defaults = dict(zip(reversed([a.arg for a in arguments]), reversed(node.args.defaults)))
            defaults |= {a.arg: d for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults) if d}
            yield from (
                f"default of {key} in line {node.lineno}"
                for key in SAFE.keys() & defaults.keys()
                if not is_safe(key, defaults)
            )
    for node in nodes:
        for _, name in imports(node):
            if MODULES & set(name.split(".")):
                yield name
        name = origin(node, names)
        if (name in LOADERS and node not in safe) or name.rpartition(".")[2] in METHODS:
            yield f"{name} in line {node.lineno}"


def imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """(name in the file, what it is) for everything that a statement imports."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.asname or alias.name, alias.name
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name, f"{node.module or ''}.{alias.name}"


def origin(node: ast.AST, names: dict[str, str]) -> str:
    """The full name of what an expression such as ``np.load`` refers to; empty for any other."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{origin(node.value, names)}.{node.attr}"
    return ""


def is_safe(key: str | None, given: dict[str | None, ast.expr]) -> bool:
    value = given.get(key)
    return isinstance(value, ast.Constant) and value.value is SAFE[key]


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_unpickles(path):
    assert list(offences(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_no_rule_unpickles(path):
    assert not re.search(r"pickle|dill|joblib|shelve|\.load\(", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as p",
        "from pickle import loads",
        "from sklearn.externals import joblib",
        "import importlib\nimportlib.import_module('dill')",
        "__import__('cPickle')",
        "import numpy as np\nnp.load(path)",
        "import numpy as np\nnp.load(path, None, True)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import numpy as np\nnp.load(path, allow_pickle=trusted)",
        "import numpy as np\nnp.load(path, **options)",
        "import numpy as np\nlist(map(np.load, paths))",
        "from numpy import load\nload(path)",
        "import numpy\nnumpy.lib.format.read_array(file, allow_pickle=True)",
        "def read(path, allow_pickle=True):\n    pass",
        "def read(path, *, weights_only=None):\n    pass",
        "read = lambda path, allow_pickle=1: path",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "from torch import load as read\nread(path)",
        "import pandas as pd\npd.read_pickle(path)",
        "import yaml\nyaml.load(text, yaml.UnsafeLoader)",
        "import yaml\nyaml.unsafe_load(text)",
    ],
)
def test_the_scan_finds(source):
    assert list(offences(source))


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\nnp.load(path, allow_pickle=False)",
        "import torch\ntorch.load(path, weights_only=True)",
        "import json\njson.load(file)",
        "def read(path, allow_pickle=False, *, weights_only=True):\n    pass",
        "'import pickle'",
    ],
)
def test_the_scan_passes(source):
    assert list(offences(source)) == []
