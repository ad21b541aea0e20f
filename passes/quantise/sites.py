"""Where a graph can be quantised: products with a constant matrix, and look-ups in a constant table.

Sites are looked for in an optimised graph before it is legalised (`tfgraph.passes.pipeline.preparing`): projections
are packed by then, and a table that also predicts tokens is one constant with two readers. What is done to a site is in
`rewrite.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tfgraph.ir.constant import Constant, constant_key
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Node, Value
from tfgraph.ir.optable import attribute
from tfgraph.ir.transforms import transposed as transpose_constant


@dataclass(frozen=True, eq=False)
class Site:
    """A node that reads a constant float32 matrix.

    Attributes:
        name: the name of the value that holds the weight; further readers of one weight have `:embedding`, `:2`, `:3`
            and so on behind it. The same in every graph of the same model.
        kind: "linear" is `activation @ matrix`; "embedding" gathers rows of a table.
        node: the MatMul, Gemm, com.microsoft::FusedMatMul, or Gather.
        activation: what the product multiplies; for an embedding, the indices.
        weight: the constant as the graph stores it.
        transposed: the weight is stored as [N, K].
        num_features: K, the length of the sums; for an embedding the length of a row.
        num_columns: N, the length of the result; for an embedding the number of rows.
        shared_with: the names of the other sites that read the same weight.
    """

    name: str
    kind: Literal["linear", "embedding"]
    node: Node
    activation: Value
    weight: Constant
    transposed: bool
    num_features: int
    num_columns: int
    shared_with: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """(K, N)."""
        return self.num_features, self.num_columns

    @property
    def matrix(self) -> Constant:
        """The weight as a handle of shape [K, N]."""
        return transpose_constant(self.weight, (1, 0)) if self.transposed else self.weight

    @property
    def num_parameters(self) -> int:
        """K * N."""
        return self.num_features * self.num_columns


def find_sites(graph: Graph) -> tuple[Site, ...]:
    """All sites of `graph`, in the order of its nodes.

    Weights without values are sites too: a plan may be made, and reading them raises when the model is written.
    """
    found = [(site, constant_key(site.matrix)) for site in map(_site, graph) if site is not None]
    groups: dict[object, list[Site]] = {}
    for site, key in found:
        groups.setdefault(key, []).append(site)
    named = {id(site): site for site, _ in found}
    taken: set[str] = set()
    for group in groups.values():
        names = _names(group, taken)
        taken.update(names)
        for site, name in zip(group, names, strict=True):
            others = tuple(other for other in names if other != name)
            named[id(site)] = replace(site, name=name, shared_with=others)
    return tuple(named.values())


def sites_by_name(sites: Sequence[Site]) -> Mapping[str, Site]:
    """`sites` by their names."""
    return {site.name: site for site in sites}


def _names(group: Sequence[Site], taken: set[str]) -> list[str]:
    """A name for each site of one weight: the product has the weight's own, before a look-up."""
    names: dict[int, str] = {}
    linear_first = sorted(range(len(group)), key=lambda index: group[index].kind != "linear")
    first = group[linear_first[0]]
    used = set(taken)
    for index in linear_first:
        site = group[index]
        wanted = first.name if site.kind == first.kind else f"{first.name}:{site.kind}"
        name, count = wanted, 1
        while name in used:
            count += 1
            name = f"{wanted}:{count}"
        used.add(name)
        names[index] = name
    return [names[index] for index in range(len(group))]


def _site(node: Node) -> Site | None:
    if node.key == "Gather":
        return _embedding(node)
    if node.key in ("MatMul", "Gemm", "com.microsoft::FusedMatMul"):
        return _linear(node)
    return None


def _embedding(node: Node) -> Site | None:
    table = node.required(0)
    if not _is_matrix(table) or attribute(node, "axis") not in (0, -2) or table.constant is None:
        return None
    rows, width = table.constant.shape
    return Site(table.name, "embedding", node, node.required(1), table.constant, True, width, rows)


def _linear(node: Node) -> Site | None:
    activation, weight = node.required(0), node.required(1)
    if not _is_matrix(weight) or weight.constant is None or activation.constant is not None:
        return None
    if activation.type.known_shape is None or activation.rank < 2:
        return None
    given = node.attributes
    if any(given.get(name, 0) for name in ("transA", "transBatchA", "transBatchB")):
        return None
    if given.get("alpha", 1.0) != 1.0 or (node.input(2) is not None and given.get("beta", 1.0) != 1.0):
        return None
    turned = bool(given.get("transB", 0))
    rows, columns = weight.constant.shape
    features, results = (columns, rows) if turned else (rows, columns)
    return Site(weight.name, "linear", node, activation, weight.constant, turned, features, results)


def _is_matrix(value: Value) -> bool:
    constant = value.constant
    return constant is not None and constant.dtype is DType.FLOAT32 and len(constant.shape) == 2 and constant.size > 0
