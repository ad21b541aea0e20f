"""What `import tfgraph` costs, and that no module of the library drags in a heavy dependency when it is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LIMIT = 0.2  # seconds
RUNS = 5  # the best counts: the others measure what else the machine was doing

TIMED_IMPORT = """
import json, sys, time
start = time.perf_counter()
import tfgraph
seconds = time.perf_counter() - start
print(json.dumps([seconds, tfgraph.__file__, sorted(sys.modules)]))
"""

# The command line is left out: it needs typer and rich to start.
IMPORT_EVERYTHING = """
import importlib, json, pkgutil, sys
import tfgraph
names = []
def walk(path, prefix):
    for found in pkgutil.iter_modules(path, prefix):
        if found.name != "tfgraph.cli" and not found.name.endswith("__main__"):
            module = importlib.import_module(found.name)
            names.append(found.name)
            if found.ispkg:
                walk(module.__path__, found.name + ".")
walk(tfgraph.__path__, "tfgraph.")
print(json.dumps([names, sorted(sys.modules)]))
"""


def in_fresh_interpreter(code: str, folder: Path) -> list[object]:
    """What `code`, run by a new interpreter in `folder`, prints as JSON."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert isinstance(result, list)
    return result


def heavy_among(modules: object, heavy_modules: frozenset[str]) -> set[str]:
    """The heavy packages of which `modules` holds a part."""
    assert isinstance(modules, list)
    return {name.partition(".")[0] for name in modules} & heavy_modules


def test_import_is_quick_and_light(repository: Path, heavy_modules: frozenset[str]) -> None:
    times = []
    for _ in range(RUNS):
        seconds, origin, modules = in_fresh_interpreter(TIMED_IMPORT, repository)
        assert origin == str(repository / "tfgraph" / "__init__.py"), "another tfgraph was timed"
        assert heavy_among(modules, heavy_modules) == set()
        assert isinstance(seconds, float)
        times.append(seconds)
    assert min(times) < LIMIT, f"import tfgraph took {min(times):.3f} s at best, {LIMIT} s is the limit"


def test_no_module_imports_a_heavy_dependency(repository: Path, heavy_modules: frozenset[str]) -> None:
    names, modules = in_fresh_interpreter(IMPORT_EVERYTHING, repository)
    assert isinstance(names, list)
    assert {"tfgraph.errors", "tfgraph.ir.dtypes", "tfgraph.passes", "tfgraph.backends.onnx"} <= set(names)
    assert heavy_among(modules, heavy_modules) == set()


def test_the_check_notices_a_heavy_import(repository: Path, heavy_modules: frozenset[str]) -> None:
    code = "import json, sys, networkx\nprint(json.dumps([sorted(sys.modules)]))"
    (modules,) = in_fresh_interpreter(code, repository)
    assert heavy_among(modules, heavy_modules) == {"networkx"}
