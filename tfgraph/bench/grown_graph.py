"""An encoder of any number of nodes, spelt as torch's exporter spells it: what optimising large files is timed on.

Widths are tiny, since only the number of nodes counts. Timing is the work of `optimize.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

_HIDDEN: Final = 16
_HEADS: Final = 2
_OPSET: Final = 17
_LOWEST: Final = float(np.finfo(np.float32).min)


def write_grown_graph(path: Path, num_nodes: int, seed: int = 0) -> int:
    """Write an encoder of at least `num_nodes` nodes to `path`; return how many it has, at most a layer more.

    Its inputs are `x` float32[batch, seq, 16] and `mask` int64[batch, seq], its output `y` float32[batch, seq, 16].
    """
    import onnx
    from onnx import helper

    writer = _Writer(seed)
    mask = writer.additive_mask("mask")
    x = "x"
    while len(writer.nodes) < num_nodes:
        x = writer.layer(x, mask)
    writer.nodes.append(helper.make_node("Identity", [x], ["y"]))
    float_type, int_type = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    graph = helper.make_graph(
        writer.nodes,
        "grown",
        [
            helper.make_tensor_value_info("x", float_type, ["batch", "seq", _HIDDEN]),
            helper.make_tensor_value_info("mask", int_type, ["batch", "seq"]),
        ],
        [helper.make_tensor_value_info("y", float_type, ["batch", "seq", _HIDDEN])],
        writer.weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8), path)
    return len(writer.nodes)


class _Writer:
    """Nodes and weights, one name a value."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._generator = np.random.default_rng(seed)
        self._count = 0

    def layer(self, x: str, mask: str) -> str:
        """One post-norm layer of an encoder: attention and GELU, as [B, S, H]."""
        query = self.emit("Transpose", self.heads(self.linear(x)), perm=[0, 2, 1, 3])  # [B, N, S, D]
        value = self.emit("Transpose", self.heads(self.linear(x)), perm=[0, 2, 1, 3])
        key = self.emit("Transpose", self.heads(self.linear(x)), perm=[0, 2, 3, 1])  # [B, N, D, S]
        scores = self.emit("Div", self.emit("MatMul", query, key), self.floats((_HIDDEN // _HEADS) ** 0.5))
        weights = self.emit("Softmax", self.emit("Add", scores, mask), axis=-1)
        mixed = self.emit("Transpose", self.emit("MatMul", weights, value), perm=[0, 2, 1, 3])
        merged = self.emit("Reshape", mixed, self.shape_of(mixed, [_HIDDEN]))
        x = self.norm(self.emit("Add", self.linear(merged), x))
        wide = self.linear(x, _HIDDEN, 2 * _HIDDEN)
        erf = self.emit("Erf", self.emit("Div", wide, self.floats(2**0.5)))
        gelu = self.emit("Mul", self.emit("Mul", wide, self.emit("Add", erf, self.floats(1.0))), self.floats(0.5))
        return self.norm(self.emit("Add", self.linear(gelu, 2 * _HIDDEN, _HIDDEN), x))

    def additive_mask(self, mask: str) -> str:
        """0 where `mask` is 1, and the lowest float32 where it is 0, as [B, 1, 1, S]."""
        spread = self.emit("Unsqueeze", self.emit("Unsqueeze", mask, self.ints([1])), self.ints([2]))
        hidden = self.emit("Sub", self.floats(1.0), self.emit("Cast", spread, to=1))
        return self.emit("Mul", hidden, self.floats(_LOWEST))

    def linear(self, x: str, width: int = _HIDDEN, out: int = _HIDDEN) -> str:
        return self.emit("Add", self.weight(out), self.emit("MatMul", x, self.weight(width, out)))

    def norm(self, x: str) -> str:
        """A layer norm in primitives."""
        centred = self.emit("Sub", x, self.emit("ReduceMean", x, axes=[-1]))
        variance = self.emit("ReduceMean", self.emit("Pow", centred, self.floats(2.0)), axes=[-1])
        deviation = self.emit("Sqrt", self.emit("Add", variance, self.floats(1e-5)))
        scaled = self.emit("Mul", self.emit("Div", centred, deviation), self.weight(_HIDDEN))
        return self.emit("Add", scaled, self.weight(_HIDDEN))

    def heads(self, x: str) -> str:
        """[B, S, H] as [B, S, N, D], its shape computed node by node."""
        return self.emit("Reshape", x, self.shape_of(x, [_HEADS], [_HIDDEN // _HEADS]))

    def shape_of(self, x: str, *rest: Sequence[int]) -> str:
        """The first two sizes of `x`, then `rest`."""
        sizes = []
        for axis in (0, 1):
            size = self.emit("Gather", self.emit("Shape", x), self.ints(axis), axis=0)
            sizes.append(self.emit("Unsqueeze", size, self.ints([0])))
        return self.emit("Concat", *sizes, *map(self.ints, rest), axis=0)

    def emit(self, op: str, *inputs: str, **attributes: Any) -> str:
        """The result of a new node."""
        from onnx import helper

        name = self._name(op)
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def floats(self, number: float) -> str:
        return self._constant(np.float32(number))

    def ints(self, numbers: int | Sequence[int]) -> str:
        return self._constant(np.asarray(numbers, np.int64))

    def weight(self, *shape: int) -> str:
        from onnx import numpy_helper

        name = self._name("weight")
        array = self._generator.standard_normal(shape) / shape[0] ** 0.5
        self.weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def _constant(self, array: Any) -> str:
        from onnx import helper, numpy_helper

        name = self._name("Constant")
        self.nodes.append(
            helper.make_node("Constant", [], [name], name=name, value=numpy_helper.from_array(np.asarray(array)))
        )
        return name

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"
