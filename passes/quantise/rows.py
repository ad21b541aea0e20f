"""Scaling the rows of activations, so that 8 bits serve each token alike, whatever the others in its batch look like.

    x W = r ((x / r) W),   r = max_k |x_k / s_k| of each row

An exact rewriting of products before they are quantised. What 8-bit products take is one scale a tensor; behind the
division every row has the largest magnitude 1 (after smoothing by s), and one scale fits all of them. It costs a few
passes over the activation. Per-token scales as in Yao et al., "ZeroQuant", 2022.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from tfgraph.errors import ConfigError
from tfgraph.ir.build import add_array, add_node
from tfgraph.ir.constant import Array
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.passes.quantise.plan import SitePlan
from tfgraph.passes.quantise.sites import Site

_TINY: Final = 1e-20
"""What rows of zeros are divided by."""


def can_scale_rows(site: Site) -> bool:
    """Whether the rows of what a site multiplies can be scaled: it is a product without a bias of its own."""
    return site.kind == "linear" and site.node.input(2) is None


def scale_rows_of(graph: Graph, planned: Iterable[tuple[Site, SitePlan]]) -> None:
    """Scale the rows of the activations of sites whose plans ask for it, in place.

    The nodes of these sites are others afterwards; the sites keep their names.

    Raises:
        ConfigError: one of them adds a bias itself.
    """
    scaled: dict[tuple[Value, bytes], tuple[Value, Value]] = {}
    for site, plan in planned:
        if not plan.scales_rows:
            continue
        if not can_scale_rows(site):
            raise ConfigError(
                f"the rows of site '{site.name}' cannot be scaled, since its {site.node.key} adds a bias itself: "
                'choose another scheme for it than "dynamic-rows", such as "dynamic"'
            )
        smoothing = plan.smoothing
        x = site.node.required(0)
        key = (x, b"" if smoothing is None else smoothing.tobytes())
        if key not in scaled:
            scaled[key] = _scaled(graph, x, smoothing, site.node)
        divided, sizes = scaled[key]
        _replace(graph, site.node, divided, sizes)


def _scaled(graph: Graph, x: Value, smoothing: Array | None, before: Node) -> tuple[Value, Value]:
    """`x` [..., K] divided by the largest magnitude of each row, and those magnitudes [..., 1]."""

    def emit(key: str, *operands: Value) -> Value:
        name = f"{before.scope}.rows.{key}" if before.scope else f"rows.{key}"
        return add_node(
            graph, key, operands, before=before, names=[name], scope=before.scope, source=before.source
        ).output  # fmt: skip

    seen = x
    if smoothing is not None:
        seen = emit("Mul", x, add_array(graph, (1 / smoothing).astype(np.float32), "rows.smoothing"))
    largest = emit("ReduceMax", emit("Abs", seen), add_array(graph, np.array([-1], np.int64), "rows.axes"))
    sizes = emit("Max", largest, add_array(graph, np.array(_TINY, np.float32), "rows.tiny"))
    return emit("Div", x, sizes), sizes


def _replace(graph: Graph, node: Node, divided: Value, sizes: Value) -> None:
    """The product of the divided activation, multiplied by the sizes of its rows, in place of `node`."""
    name = node.output.name
    product = add_node(
        graph,
        node.key,
        [divided, *node.inputs[1:]],
        node.attributes,
        before=node,
        scope=node.scope,
        source=node.source,
    )
    restored = add_node(graph, "Mul", [product.output, sizes], before=node, scope=node.scope, source=node.source)
    graph.replace_all_uses(node.output, restored.output)
    graph.erase(node)
    graph.rename(restored.output, name)
