"""Carrying out a plan: the sites it names become quantised operators, with what is around them made to fit.

Several products of one activation share its quantisation and its smoothing; several readers of one weight share its
integers; a bias that only a product reads becomes the kernel's own. Which operators there are is in `operators.py`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from tfgraph.capabilities import Capabilities
from tfgraph.errors import ConfigError
from tfgraph.ir.constant import constant_key
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.passes.quantise.operators import Emitter
from tfgraph.passes.quantise.plan import Plan, QuantizedWeight, SitePlan
from tfgraph.passes.quantise.rows import scale_rows_of
from tfgraph.passes.quantise.sites import Site, find_sites, sites_by_name
from tfgraph.passes.quantise.smoothing import Smoother
from tfgraph.passes.quantise.weights import round_to_nearest, scale_rows
from tfgraph.passes.report import PassResult
from tfgraph.passes.rewrite import Rewriter, erase_dead

_BIAS_OF_SKIP_NORM: Final = {
    "com.microsoft::SkipLayerNormalization": 4,
    "com.microsoft::SkipSimplifiedLayerNormalization": 3,
}


def quantise(graph: Graph, target: Capabilities, plan: Plan) -> PassResult:
    """Quantise the sites of `graph` that `plan` names, for `target`; the others stay as they are.

    The graph must be optimised and not legalised yet, and is legalised afterwards (`tfgraph.passes.pipeline.quantising`
    does both): the operators made here are those of ONNX Runtime where the target has them, and what it has not is
    written out by its definition. Weights are not read, except where the plan holds integers already.

    Sites that share a weight share its integers if their plans have the same scheme and smoothing, and the same
    `weights` object or none.

    Raises:
        ConfigError: the plan names a site that the graph has not, or asks of a site what does not fit it.
    """
    sites = sites_by_name(find_sites(graph))
    unknown = [name for name in plan if name not in sites]
    if unknown:
        known = ", ".join(list(sites)[:5]) + (", …" if len(sites) > 5 else "")
        raise ConfigError(
            f"the plan names {len(unknown)} sites that graph '{graph.name}' has not, such as '{unknown[0]}': "
            f"it has {known or 'none'}. Make the plan from find_sites on this graph"
        )
    planned = [(site, plan[name]) for name, site in sites.items() if name in plan]
    for site, site_plan in planned:
        _check(site, site_plan)
    if any(site_plan.scales_rows for _, site_plan in planned):
        scale_rows_of(graph, planned)
        planned = [(site, plan[site.name]) for site in find_sites(graph) if site.name in plan]
    changes: Counter[str] = Counter()
    rewriter = Rewriter(graph)
    smoother = Smoother(rewriter, {site.node: site_plan for site, site_plan in planned}, changes)
    run = _Run(graph, rewriter, Emitter(rewriter, target), smoother, _Weights({}))
    keys = [_activation_key(site, site_plan) for site, site_plan in planned]
    readers = Counter(keys)
    for (site, site_plan), key in zip(planned, keys, strict=True):
        rewriter.at(site.node)
        if site.kind == "embedding":
            run.put(site, run.emitter.embedding(site, run.weights.of(site, site_plan)))
        else:
            run.product(site, site_plan, alone=readers[key] == 1)
        changes[f"quantise: {site_plan.scheme}"] += 1
    return PassResult(changes)


def _check(site: Site, plan: SitePlan) -> None:
    scheme = plan.scheme
    if site.kind == "embedding" and (scheme.kind != "weight_only" or plan.smoothing is not None):
        raise ConfigError(
            f"site '{site.name}' is a table of embeddings, and was given the scheme {scheme}"
            f"{' with smoothing' if plan.smoothing is not None else ''}: expected weight_only without smoothing"
        )
    if plan.weights is not None and not plan.weights.fits(scheme, site.shape):
        found = plan.weights
        raise ConfigError(
            f"site '{site.name}' is {site.num_features} x {site.num_columns} with the scheme {scheme}, and was given "
            f"weights of {found.shape[0]} x {found.shape[1]} with bits={found.bits}, block_size={found.block_size}, "
            f"symmetric={found.zero_points is None}"
        )
    if plan.smoothing is not None and plan.smoothing.shape != (site.num_features,):
        raise ConfigError(
            f"site '{site.name}' sums over {site.num_features} features, and was given smoothing "
            f"{list(plan.smoothing.shape)}: expected [{site.num_features}]"
        )


def _activation_key(site: Site, plan: SitePlan) -> object:
    """Equal for sites that quantise the same activation when the model runs."""
    if plan.scheme.kind != "dynamic":
        return site.node
    flat = _flattening(site)
    return site.activation if flat is None else flat.required(
        0
    ), None if plan.smoothing is None else plan.smoothing.tobytes()


@dataclass
class _Weights:
    """The integers of each weight, made once."""

    known: dict[object, QuantizedWeight]

    def of(self, site: Site, plan: SitePlan) -> QuantizedWeight:
        if plan.weights is not None:
            return plan.weights
        smoothing = None if plan.smoothing is None else plan.smoothing.tobytes()
        key = (constant_key(site.matrix), plan.scheme, smoothing)
        if key not in self.known:
            matrix = site.matrix if plan.smoothing is None else scale_rows(site.matrix, plan.smoothing)
            self.known[key] = round_to_nearest(matrix, plan.scheme, site.name)
        return self.known[key]


@dataclass
class _Run:
    graph: Graph
    rewriter: Rewriter
    emitter: Emitter
    smoother: Smoother
    weights: _Weights

    def product(self, site: Site, plan: SitePlan, *, alone: bool) -> None:
        """Put the quantised product, and the bias where it is a vector, in place of what `site` is."""
        flat = _flattening(site)
        x = self.smoother.activation(site, site.node.required(0) if flat is None else flat.required(0))
        weight = self.weights.of(site, plan)
        bias = self._own_bias(site)
        total = None
        if site.node.input(2) is None and flat is None:
            total, bias = _bias_after(site, self.emitter.target)
        result = self._emitted(site, plan, x, weight, bias, alone)
        if bias is None and site.node.input(2) is not None:
            result = self.rewriter.emit("Add", [result, site.node.input(2)])
        if total is None:
            self._replace(site.node if flat is None else site.node.output.users[0], result)
            return
        self.rewriter.at(total)
        inputs = [result if value is site.node.output else value for value in total.inputs]
        if total.key in _BIAS_OF_SKIP_NORM:
            inputs = [None if value is bias else value for value in inputs]
            results = self.rewriter.emit_all(total.key, inputs, total.attributes, len(total.outputs))
            self._replace(total, *results)
            return
        others = [value for value in inputs if value is not bias]
        if len(others) > 1:
            result = self.rewriter.emit("Add" if len(others) == 2 else "Sum", others)
        self._replace(total, result)

    def _emitted(
        self, site: Site, plan: SitePlan, x: Value, weight: QuantizedWeight, bias: Value | None, alone: bool
    ) -> Value:
        if plan.activation is not None:  # of static schemes alone
            return self.emitter.static(site, x, weight, bias, plan.activation)
        if plan.scheme.kind == "dynamic":
            return self.emitter.dynamic(site, x, weight, bias, alone=alone)
        return self.emitter.weight_only(site, x, weight, bias)

    def put(self, site: Site, result: Value) -> None:
        """Put `result` in place of the site's node."""
        self._replace(site.node, result)

    def _replace(self, node: Node, *results: Value) -> None:
        names = [value.name for value in node.outputs]
        for old, new in zip(node.outputs, results, strict=True):
            self.graph.replace_all_uses(old, new)
        erase_dead(self.graph, node)
        for name, new in zip(names, results, strict=True):
            self.graph.rename(new, name)

    def _own_bias(self, site: Site) -> Value | None:
        """The bias of a Gemm, where it is a constant vector."""
        bias = site.node.input(2)
        return bias if bias is not None and _is_vector(bias, site.num_columns) else None


def _bias_after(site: Site, target: Capabilities) -> tuple[Node, Value] | tuple[None, None]:
    """The sum of the product, which nobody else reads, and a constant vector; and that vector.

    The sum is an Add, a Sum, or a skip normalisation that the target does not run as one kernel.
    """
    product = site.node.output
    if product.num_uses != 1 or product.is_output:
        return None, None
    user = product.users[0]
    if user.key in _BIAS_OF_SKIP_NORM:
        support = target.operators.get(user.key)
        candidates = [user.input(_BIAS_OF_SKIP_NORM[user.key])] if support is None or support.slower_than_body else []
        if product not in (user.input(0), user.input(1)):
            candidates = []
    else:
        candidates = list(user.inputs) if user.key in ("Add", "Sum") else []
    for value in candidates:
        if value is not None and value is not product and _is_vector(value, site.num_columns):
            return user, value
    return None, None


def _flattening(site: Site) -> Node | None:
    """The Reshape before a Gemm that only makes a matrix of its operand, if the one after it takes that back.

    Quantised products take operands of any rank.
    """
    before, product = site.node.required(0).producer, site.node.output
    if site.node.key != "Gemm" or site.node.input(2) is not None or before is None or before.key != "Reshape":
        return None
    if product.num_uses != 1 or product.is_output or product.users[0].key != "Reshape":
        return None
    source, result = before.required(0), product.users[0].output
    if source.type.known_shape is None or result.type.known_shape is None or source.rank < 2:
        return None
    return before if result.shape == (*source.shape[:-1], site.num_columns) else None


def _is_vector(value: Value, size: int) -> bool:
    return value.constant is not None and value.constant.shape == (size,)
