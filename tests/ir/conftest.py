"""What the tests of the IR share: random graphs, and one small graph that every test can read."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tfgraph.ir.build import add_array, add_node
from tfgraph.ir.dims import symbol
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Source


@pytest.fixture(scope="session")
def random_graphs() -> ModuleType:
    """The strategies in `random_graphs.py`, which is no test module and lies in no package."""
    path = Path(__file__).with_name("random_graphs.py")
    spec = importlib.util.spec_from_file_location("tfgraph_random_graphs", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def graph() -> Graph:
    """y = (x @ w + b) * (x @ w + b), on three lines of a model."""
    built = Graph("square")
    x = built.add_input("x", DType.FLOAT32, (symbol("batch"), 4))
    w = add_array(built, [[0.5, 1.0], [0.0, -1.0], [2.0, 0.25], [1.0, 1.0]], "linear.weight", "float32")
    b = add_array(built, [0.0, 1.0], "linear.bias", "float32")
    product = add_node(built, "MatMul", [x, w], scope="linear", source=Source("model.py", 3))
    total = add_node(built, "Add", [product.output, b], scope="linear", source=Source("model.py", 3))
    square = add_node(built, "Mul", [total.output, total.output], source=Source("model.py", 5))
    built.set_output("y", square.output)
    return built
