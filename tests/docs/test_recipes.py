"""The code of CONTRIBUTING.md does what the recipes promise, each block in the module that it names.

In a process of its own, since it adds to the operator table.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

FOLLOW = """
import importlib, re, sys, textwrap
from pathlib import Path
import numpy as np

text = Path(sys.argv[1]).read_text(encoding="utf-8")
blocks = [textwrap.dedent(found) for found in re.findall(r"^   ```python\\n(.*?)^   ```$", text, re.M | re.S)]
made, fusions, tests = {}, [], {}
for block in blocks:
    path = re.match(r"# ([\\w/]+)\\.py", block)[1]
    if path.startswith("tests/"):
        tests[path] = block
        continue
    names = {} if "NAME" in path else vars(importlib.import_module(
        (path if path.startswith("tfgraph") else f"tfgraph/{path}").replace("/", ".")))
    scope = {**names, **made}
    if "in STANDARD_ACTIVATIONS" in block:
        fusions += eval(block, scope)
        continue
    if path.endswith("functional"):
        exec(block, names)  # definitions call it as F.softplus
        continue
    exec(block, scope)
    made |= {name: value for name, value in scope.items() if name not in names}

from tfgraph.dsl import functional as F
from tfgraph.dsl.trace import spec, trace
from tfgraph.ir.interpret import evaluate, interpret
from tfgraph.ir.optable import get_spec
from tfgraph.passes.canonical import CANONICAL, arithmetic
from tfgraph.passes.canonicalise import canonicalise
from tfgraph.passes.fusion import FusionPass
from tfgraph.passes.legalise import legalise
from tfgraph.targets import get_target

(det,) = evaluate(get_spec("Det"), [np.eye(3, dtype=np.float32)[None] * 2], {})
assert det.tolist() == [8.0]

x = np.linspace(-2, 2, 8, dtype=np.float32)[None]
graph = trace(lambda x: x * F.tanh(F.log(F.exp(x) + 1.0)), x=spec("float32", ["batch", 8]))
expected = interpret(graph, {"x": x})["output"]
canonicalise(graph, get_target("cpu"))
assert arithmetic.ARITHMETIC.apply(graph)["log_is_softplus"] == 1
FusionPass("fuse", fusions, CANONICAL).run(graph, get_target("cpu"))
assert [node.key for node in graph] == ["Mish"]
assert np.abs(interpret(graph, {"x": x})["output"] - expected).max() < 1e-6

legalise(graph, made["ONNX18"])
assert [node.key for node in graph] == ["Mish"]

for path, block in tests.items():
    module = Path(path + ".py")
    assert (Path(sys.argv[1]).parent / module).is_file(), module
    compile(block, str(module), "exec")
print(len(blocks), "blocks")
"""


def test_the_recipes_work() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FOLLOW, str(ROOT / "CONTRIBUTING.md")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "8 blocks\n"
