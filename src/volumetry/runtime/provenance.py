"""Where a result comes from: digests of the code it depends on, versions, commit.

Nothing here imports what it describes: sources are read as text and versions from the metadata of
the installed packages.
"""

import ast
import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_LOGGING = ("volumetry.runtime.joblog", "volumetry.runtime.progress")
_INSTALLED_AS = {"sklearn": "scikit-learn", "yaml": "pyyaml", "vl_convert": "vl-convert-python"}
_DESCRIPTIONS = ("about", "unit")


def code_digest(*sources: str | Path) -> str:
    """SHA-256 over the code of ``sources`` and of every volumetry module they import.

    Imports are found in the source, those inside functions too; comments, docstrings, layout and
    what a ``parameter`` says of itself do not count. What is imported by a name computed at run
    time must be listed by the caller. The ``__init__`` of a package counts only where something is
    imported from it. Templates beside a module count as part of it.

    Args:
        sources: modules by their dotted names, such as ``volumetry.methods.rewl``, and scripts by
            their paths.

    Returns:
        Hexadecimal digest, 64 characters.
    """
    code = [[_code(_source(source)), *_templates(source)] for source in depends_on(*sources)]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def depends_on(*sources: str | Path, in_functions: bool = True) -> list[str | Path]:
    """``sources`` and every volumetry module they import, directly or through others, sorted.

    Modules that only write logs are left out: no result depends on them.

    Args:
        in_functions: whether what is imported inside functions counts.
    """
    found: set[str | Path] = set()
    pending = list(sources)
    while pending:
        source = pending.pop()
        if source not in found and source not in _LOGGING:
            found.add(source)
            pending.extend(name for name in _imports(source, in_functions) if _file(name))
    return sorted(found, key=str)


def packages(*sources: str | Path, device: str = "cpu") -> list[str]:
    """The packages that numbers may depend on: those that ``sources`` and what they import name.

    They are found in the source, so what else is installed has no influence. Samplers import what
    only a GPU needs inside functions: on the CPU that does not count.
    """
    in_functions = device != "cpu"
    names = {
        name.partition(".")[0]
        for source in depends_on(*sources, in_functions=in_functions)
        for name in _imports(source, in_functions)
    }
    others = names - sys.stdlib_module_names - {"volumetry"}
    return sorted((_INSTALLED_AS.get(name, name) for name in others), key=str.lower)


def versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of installed packages."""
    return {name: version(name) for name in names}


def provenance(digest: str, used: Iterable[str]) -> dict[str, str]:
    """Attributes for a result file: versions, commit if there is one, code digest, processor.

    Args:
        digest: of the code.
        used: ``packages`` of the code.
    """
    attributes = {
        "volumetry_version": version("volumetry"),
        "code_digest": digest,
        "versions": json.dumps({"python": platform.python_version()} | versions(used)),
        "processor": _processor(),
    }
    commit = _commit()
    return attributes | ({"commit": commit} if commit else {})


def _file(source: str | Path) -> Path | None:
    """The file of a script, or of a volumetry module; None for any other module."""
    if isinstance(source, Path):
        return source
    head, *parts = source.split(".")
    if head != "volumetry":
        return None
    path = _ROOT.joinpath(*parts)
    candidates = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _source(module: str | Path) -> Path:
    path = _file(module)
    if path is None:
        raise ValueError(f"{module} is no module of volumetry")
    return path


def _imports(source: str | Path, in_functions: bool) -> set[str]:
    """The modules that a source imports by name."""
    return {name for name, inside in _all_imports(source) if in_functions or not inside}


@cache
def _all_imports(source: str | Path) -> frozenset[tuple[str, bool]]:
    """(module imported by name, whether that is inside a function)."""
    path = _source(source)
    package = str(source) if path.name == "__init__.py" else str(source).rpartition(".")[0]
    imports: set[tuple[str, bool]] = set()
    for node, inside in _import_statements(_parse(path)):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        else:
            parents = package.split(".")[: 1 - node.level or None] if node.level else []
            origin = ".".join([*parents, *([node.module] if node.module else [])])
            members = {f"{origin}.{alias.name}" for alias in node.names}
            submodules = {name for name in members if _file(name)}
            names = submodules if submodules == members else submodules | {origin}
        imports |= {(name, inside) for name in names}
    return frozenset(imports)


def _import_statements(
    tree: ast.AST, inside: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """(statement, whether it is inside a function)."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, inside
        elif not isinstance(node, ast.expr):  # no statement is inside an expression
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _import_statements(node, inside or function)


@cache
def _code(path: Path) -> str:
    return ast.unparse(_OnlyCode().visit(_parse(path)))


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _templates(source: str | Path) -> list[str]:
    folder = _source(source).parent
    return [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.j2"))]


class _OnlyCode(ast.NodeTransformer):
    """Drops every statement that is only a string, and what a ``parameter`` says of itself."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else node

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "parameter":
            node.keywords = [word for word in node.keywords if word.arg not in _DESCRIPTIONS]
        return node


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _commit() -> str | None:
    # The package may be installed inside someone else's repository: only one that tracks this
    # very file tells anything.
    for command in (["ls-files", "--error-unmatch", __file__], ["rev-parse", "HEAD"]):
        try:
            result = subprocess.run(
                ["git", "-C", str(_ROOT), *command], capture_output=True, text=True, check=False
            )
        except OSError:
            return None
        if result.returncode:
            return None
    return result.stdout.strip()
