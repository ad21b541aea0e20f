"""The shape of the source tree: who may import whom, and where; how long a file may be, and what it opens with.

Imports are read from the source with `ast`, wherever they stand in a file, so that one that runs only in a rare branch
counts as well. What stands under `if TYPE_CHECKING:` does not count: it never runs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 400

# Package -> what its modules may import of tfgraph, besides their own package. A module of tfgraph that is in none of
# these (compile, cli and the like) sees everything, and is seen by none of these.
BASE = ["tfgraph.errors", "tfgraph.version"]
PATTERN_MAKING = ["tfgraph.dsl.functions", "tfgraph.dsl.tensor", "tfgraph.dsl.trace"]
MAY_IMPORT: dict[str, list[str]] = {
    "tfgraph.errors": [],
    "tfgraph.version": [],
    "tfgraph.ir": BASE,
    "tfgraph.dsl": [*BASE, "tfgraph.ir"],
    "tfgraph.models": [*BASE, "tfgraph.ir", "tfgraph.dsl"],
    "tfgraph.checkpoints": [*BASE, "tfgraph.ir"],
    "tfgraph.capabilities": [*BASE, "tfgraph.ir"],
    "tfgraph.generation": BASE,
    "tfgraph.passes": [*BASE, "tfgraph.ir", *PATTERN_MAKING, "tfgraph.capabilities"],
    "tfgraph.backends": [*BASE, "tfgraph.ir", "tfgraph.capabilities"],
}
COMMAND_LINE = "tfgraph.cli"
COMMAND_LINE_TOOLS = frozenset({"rich", "typer"})  # the command line cannot start without them


class Import(NamedTuple):
    """One imported name: `from a.b import c` is `a.b.c`, `import a.b` is `a.b`."""

    name: str
    line: int
    deferred: bool  # inside a function, so that importing the module does not run it


def within(name: str, package: str) -> bool:
    """Whether the dotted `name` is `package` or lies in it."""
    return name == package or name.startswith(package + ".")


def imports_of(tree: ast.Module, package: str) -> Iterator[Import]:
    """Every import in `tree`, a module that lies in `package`; relative ones are resolved."""

    def visit(node: ast.AST, deferred: bool) -> Iterator[Import]:
        match node:
            case ast.Import(names=names):
                yield from (Import(alias.name, node.lineno, deferred) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                parts = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                source = ".".join([*parts, *([module] if module else [])])
                yield from (Import(f"{source}.{alias.name}", node.lineno, deferred) for alias in names)
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__")):
                match node.args:
                    case [ast.Constant(value=str(name)), *_]:
                        yield Import(name, node.lineno, deferred)
        inside = deferred or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        skipped = node.body if isinstance(node, ast.If) and is_type_checking(node.test) else []
        for child in ast.iter_child_nodes(node):
            if child not in skipped:
                yield from visit(child, inside)

    yield from visit(tree, False)


def is_type_checking(test: ast.expr) -> bool:
    """Whether `test` is `TYPE_CHECKING`, however it was imported."""
    return (test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)) == "TYPE_CHECKING"


def broken_rules(source: str, module: str, heavy: frozenset[str], is_package: bool = False) -> list[str]:
    """What the module named `module`, with the given source, does against the rules: one line of text for each."""
    tree = ast.parse(source)
    broken = []
    if not (ast.get_docstring(tree) or "").strip():
        broken.append("1: no docstring opens the module")
    if (length := len(source.splitlines())) > MAX_LINES:
        broken.append(f"{length}: more than {MAX_LINES} lines: there are two ideas in it")
    layer = next((package for package in MAY_IMPORT if within(module, package)), None)
    allowed = [*MAY_IMPORT[layer], layer] if layer else ["tfgraph"]
    at_import = heavy - COMMAND_LINE_TOOLS if within(module, COMMAND_LINE) else heavy
    for name, line, deferred in imports_of(tree, module if is_package else module.rpartition(".")[0]):
        top = name.partition(".")[0]
        if top in ("passes", "backends"):
            broken.append(f"{line}: imports {name}: its name is tfgraph.{name}")
        elif top == "tfgraph" and not any(within(name, package) for package in allowed):
            broken.append(f"{line}: {layer} may not import {name}, only {', '.join(allowed)}")
        elif top in at_import and not deferred and within(module, "tfgraph"):
            broken.append(f"{line}: imports {top} when it is imported: move it into the function that uses it")
    return broken


def library() -> list[Path]:
    """The files of the library, each once."""
    return sorted(path for folder in ("tfgraph", "passes", "backends") for path in walk(ROOT / folder))


def walk(folder: Path) -> Iterator[Path]:
    """The Python files under `folder`; a symbolic link is not followed."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            yield from walk(path)
        elif path.suffix == ".py":
            yield path


def module_of(path: Path) -> str:
    """The dotted name under which the file is imported."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] in ("passes", "backends"):
        parts.insert(0, "tfgraph")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def name_of(path: Path) -> str:
    """How a test names a file."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [*library(), *walk(ROOT / "tests"), *walk(ROOT / "examples")], ids=name_of)
def test_file_keeps_the_rules(path: Path, heavy_modules: frozenset[str]) -> None:
    source = path.read_text(encoding="utf-8")
    broken = broken_rules(source, module_of(path), heavy_modules, is_package=path.name == "__init__.py")
    assert not broken, "\n".join(f"{name_of(path)}:{line}" for line in broken)


def test_the_library_is_found() -> None:
    modules = {module_of(path) for path in library()}
    assert {"tfgraph.errors", "tfgraph.ir.dtypes", "tfgraph.passes", "tfgraph.backends.onnx"} <= modules


def test_every_folder_of_the_library_is_a_package() -> None:
    missing = {name_of(path.parent) for path in library() if not (path.parent / "__init__.py").exists()}
    assert not missing, f"no __init__.py in {sorted(missing)}: the wheel would leave them out"


@pytest.mark.parametrize("name", ["passes", "backends"])
def test_a_checkout_links_the_folder_into_the_package(name: str) -> None:
    link = ROOT / "tfgraph" / name
    assert link.is_symlink(), f"{link} is no symbolic link: is git's core.symlinks off?"
    assert link.resolve() == ROOT / name


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("tfgraph.errors", "import tfgraph.ir"),
        ("tfgraph.ir.graph", "from tfgraph.dsl import trace"),
        ("tfgraph.ir.graph", "from tfgraph import trace"),
        ("tfgraph.ir.graph", "import tfgraph"),
        ("tfgraph.ir.graph", "from ..dsl import layers"),
        ("tfgraph.ir.graph", "from .. import compile"),
        ("tfgraph.ir.graph", "def f():\n    from tfgraph.passes import base"),
        ("tfgraph.ir.graph", "import importlib\nimportlib.import_module('tfgraph.passes')"),
        ("tfgraph.dsl.layers", "from tfgraph.models import bert"),
        ("tfgraph.models.bert", "from tfgraph.checkpoints import safetensors_file"),
        ("tfgraph.checkpoints.config", "from tfgraph.models.bert import Bert"),
        ("tfgraph.passes.base", "from tfgraph.dsl.layers import Linear"),
        ("tfgraph.passes.base", "from tfgraph.backends.onnx import lower"),
        ("tfgraph.passes.base", "from tfgraph import targets"),
        ("tfgraph.capabilities", "from tfgraph.backends.onnx.capabilities import ONNX"),
        ("tfgraph.backends.onnx.lower", "from tfgraph.passes import legalise"),
        ("tfgraph.compile", "import passes.base"),
        ("tfgraph.compile", "def f():\n    from backends import onnx"),
        ("tests.test_it", "import backends.onnx"),
        ("tfgraph.compile", "import onnx"),
        ("tfgraph.compile", "try:\n    import torch.nn\nexcept ImportError:\n    torch = None"),
        ("tfgraph.compile", "class A:\n    from networkx import DiGraph"),
        ("tfgraph.compile", "if not TYPE_CHECKING:\n    import onnx"),
        ("tfgraph.compile", "if TYPE_CHECKING:\n    pass\nelse:\n    import onnx"),
        ("tfgraph.cli.main", "import onnxruntime"),
    ],
)
def test_a_forbidden_import_is_caught(module: str, statement: str, heavy_modules: frozenset[str]) -> None:
    assert len(broken_rules(f'"""A module."""\n{statement}\n', module, heavy_modules)) == 1


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("tfgraph.ir.graph", "from tfgraph.ir.types import Type\nfrom tfgraph import errors\nimport numpy"),
        ("tfgraph.ir.graph", "from . import types\nfrom .types import Type\nfrom ..errors import GraphError"),
        ("tfgraph.ir.graph", "def f():\n    import networkx"),
        ("tfgraph.ir.graph", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import onnx, tfgraph.compile"),
        ("tfgraph.ir.graph", "import onnxlike, tfgraphs.compile, passes_of_my_own"),
        ("tfgraph.passes.match", "from tfgraph.dsl import functions\nfrom tfgraph.dsl.functions import gelu"),
        ("tfgraph.passes.legalise", "from tfgraph.capabilities import Capabilities"),
        ("tfgraph.backends.onnx.lower", "from tfgraph.capabilities import Capabilities"),
        ("tfgraph.backends.tensorrt.lower", "from tfgraph.backends.onnx.write import write"),
        ("tfgraph.compile", "from tfgraph import trace\nfrom tfgraph.passes import base, legalise"),
        ("tfgraph.cli.main", "import rich.table, typer"),
        ("tests.test_it", "import onnx, torch, tfgraph"),
    ],
)
def test_an_allowed_import_is_let_through(module: str, statement: str, heavy_modules: frozenset[str]) -> None:
    assert broken_rules(f'"""A module."""\n{statement}\n', module, heavy_modules) == []


def test_a_relative_import_in_a_package_is_resolved_from_that_package(heavy_modules: frozenset[str]) -> None:
    source = '"""A package."""\nfrom .graph import Graph\nfrom ..dsl import trace\n'
    broken = broken_rules(source, "tfgraph.ir", heavy_modules, is_package=True)
    assert [line.partition(", only")[0] for line in broken] == ["3: tfgraph.ir may not import tfgraph.dsl.trace"]


def test_a_missing_docstring_and_a_long_file_are_caught(heavy_modules: frozenset[str]) -> None:
    assert broken_rules("x = 1\n", "tfgraph.compile", heavy_modules) == ["1: no docstring opens the module"]
    long = '"""A module."""\n' + "x = 1\n" * MAX_LINES
    assert broken_rules(long, "tfgraph.compile", heavy_modules) == [
        "401: more than 400 lines: there are two ideas in it",
    ]
