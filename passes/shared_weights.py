"""Weights that are used both as they are and transposed, such as a table of embeddings that also predicts tokens.

Folding the transposition would store such a weight twice. `MatMul(x, transpose(w))` becomes ONNX's `Gemm`, which reads
`w` as it is stored. A weight that is only used transposed stays folded: that is the layout that kernels read fastest.
"""

from __future__ import annotations

from collections import Counter

from tfgraph.capabilities import Capabilities
from tfgraph.ir.constant import constant_key
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.ir.transforms import transposed
from tfgraph.passes.canonical.sizes import size_vector
from tfgraph.passes.report import PassResult
from tfgraph.passes.rewrite import Rewriter


def share_weights(graph: Graph, target: Capabilities) -> PassResult:
    """Let every product with the transposition of a weight read the weight itself, if the graph holds it anyway."""
    matrices = {
        constant_key(value.constant): value
        for value in graph.constants
        if value.constant is not None and len(value.constant.shape) == 2 and value.num_uses
    }
    changes: Counter[str] = Counter()
    rewriter = Rewriter(graph)
    for turned in matrices.values():
        if turned.constant is None or not _only_multiplies(turned):
            continue
        stored = matrices.get(constant_key(transposed(turned.constant, (1, 0))))
        if stored is None or _only_multiplies(stored):
            continue
        for node in turned.users:
            if _runs(target, node):
                rewriter.at(node)
                graph.replace_all_uses(node.output, _product(rewriter, node.required(0), stored))
                graph.erase(node)
                changes["share_weights"] += 1
    return PassResult(changes)


def _only_multiplies(matrix: Value) -> bool:
    """Whether all that is done with the matrix is to multiply something by it."""
    return not matrix.is_output and all(
        node.key == "MatMul" and node.input(1) is matrix and node.input(0) is not matrix for node in matrix.users
    )


def _runs(target: Capabilities, node: Node) -> bool:
    """Whether the target has a Gemm for the product; its first operand must have known axes to be flattened."""
    x = node.required(0)
    if x.type.known_shape is None or x.rank < 2:
        return False
    support = target.operators.get("Gemm")
    return support is None or not support.dtypes or x.dtype in support.dtypes


def _product(rewriter: Rewriter, x: Value, stored: Value) -> Value:
    """`x @ stored^T`; Gemm takes matrices, so that leading axes are folded into one, and restored."""
    if x.rank == 2:
        return rewriter.emit("Gemm", [x, stored], {"transB": 1})
    leading = [size_vector(rewriter, x, axis) for axis in range(x.rank - 1)]
    shape = rewriter.emit("Concat", [*leading, size_vector(rewriter, stored, 0)], {"axis": 0})
    width = 0 if stored.constant is None else stored.constant.shape[1]
    flat = rewriter.emit("Reshape", [x, rewriter.ints([-1, width])])
    return rewriter.emit("Reshape", [rewriter.emit("Gemm", [flat, stored], {"transB": 1}), shape])
