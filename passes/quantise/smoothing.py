"""Smoothing: activations divided by a vector, so that their outliers move into the weights.

    x W = (x / s) (s W)

The division is one product with `1 / s` for all readers of an activation; where a normalisation gives the activation to
nobody else, its scale and bias take the division in. What `s` should be is not decided here.

Source: Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language Models", 2023,
equation 3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tfgraph.ir.build import add_node
from tfgraph.ir.constant import Array, ArrayConstant, Constant
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.ir.optable import attribute
from tfgraph.ir.transforms import folded
from tfgraph.passes.quantise.plan import SitePlan
from tfgraph.passes.quantise.sites import Site
from tfgraph.passes.rewrite import Rewriter, erase_dead

_SCALE_AND_BIAS: Final[Mapping[str, Sequence[int]]] = {
    "LayerNormalization": (1, 2),
    "RMSNormalization": (1,),
    "SimplifiedLayerNormalization": (1,),
    "com.microsoft::SkipLayerNormalization": (2, 3),
    "com.microsoft::SkipSimplifiedLayerNormalization": (2,),
}
"""Where a normalisation has the vectors that its result is a multiple of."""


@dataclass
class Smoother:
    """The smoothed activations of one graph, each made once."""

    rewriter: Rewriter
    plans: Mapping[Node, SitePlan]
    changes: Counter[str]
    _smoothed: dict[object, Value] = field(default_factory=dict)

    def activation(self, site: Site, x: Value) -> Value:
        """What the product of `site` is to multiply: `x` as it is by now, divided by the plan's smoothing."""
        smoothing = self.plans[site.node].smoothing
        if smoothing is None:
            return x
        key = (x, smoothing.tobytes())
        if key not in self._smoothed:
            folded_into = self._fold(x, smoothing)
            if folded_into is not None:
                self.changes["quantise: smoothing in a normalisation"] += 1
                self._smoothed[folded_into, smoothing.tobytes()] = folded_into
                return folded_into
            inverse = self.rewriter.constant(ArrayConstant(1 / smoothing.astype(np.float32)), "smoothing")
            self._smoothed[key] = self.rewriter.emit("Mul", [x, inverse])
            self.changes["quantise: smoothing by a Mul"] += 1
        return self._smoothed[key]

    def _fold(self, x: Value, smoothing: Array) -> Value | None:
        """The result of the normalisation that gives `x`, its scale and bias divided; None where others read it."""
        norm, graph = x.producer, self.rewriter.graph
        places = () if norm is None else _SCALE_AND_BIAS.get(norm.key, ())
        if norm is None or not places or x is not norm.output or x.is_output:
            return None
        if not all(self._wants(user, x, smoothing) for user in x.users):
            return None
        if norm.key == "LayerNormalization" and attribute(norm, "axis") not in (-1, x.rank - 1):
            return None
        inputs = list(norm.inputs)
        for place in places:
            given = norm.input(place)
            if given is None:
                continue
            if given.constant is None or given.constant.shape != smoothing.shape:
                return None
            inputs[place] = graph.add_constant(_divided(given.constant, smoothing), f"{given.name}.smoothed")
        return _replaced(graph, norm, inputs)

    def _wants(self, user: Node, x: Value, smoothing: Array) -> bool:
        """Whether `user` is a site that reads `x` as its activation alone, and wants this smoothing."""
        plan = self.plans.get(user)
        if plan is None or plan.smoothing is None or sum(value is x for value in user.inputs) != 1:
            return False
        return user.input(0) is x and plan.smoothing.tobytes() == smoothing.tobytes()


def _replaced(graph: Graph, norm: Node, inputs: Sequence[Value | None]) -> Value:
    """A node as `norm` with other operands, in its place; its first result."""
    fresh = add_node(
        graph,
        norm.key,
        inputs,
        norm.attributes,
        num_outputs=len(norm.outputs),
        before=norm,
        scope=norm.scope,
        source=norm.source,
    )
    names = [value.name for value in norm.outputs]
    for old, new in zip(norm.outputs, fresh.outputs, strict=True):
        graph.replace_all_uses(old, new)
    erase_dead(graph, norm)
    for name, new in zip(names, fresh.outputs, strict=True):
        graph.rename(new, name)
    return fresh.output


def _divided(vector: Constant, smoothing: Array) -> Constant:
    key = ("divided", smoothing.tobytes())
    return folded(lambda array: array / smoothing.astype(array.dtype), [vector], key, vector.dtype, vector.shape)
