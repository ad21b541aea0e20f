"""The pipeline: the passes that make a graph of primitives the best graph for a target, in order."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeAlias

from tfgraph.capabilities import Capabilities
from tfgraph.ir.graph import Graph
from tfgraph.passes.attention_masks import prepare_masks, write_out_masks
from tfgraph.passes.base import FunctionPass, Pipeline
from tfgraph.passes.cached_attention import runs_cached_attention, uncover_positions, use_group_query_attention
from tfgraph.passes.canonical import CANONICAL
from tfgraph.passes.canonicalise import canonicalise
from tfgraph.passes.cleanup import clean
from tfgraph.passes.fusion import FusionPass
from tfgraph.passes.fusions import (
    CACHED_ATTENTION,
    CONTRIB,
    FOLDED_ATTENTION,
    MULTI_HEAD_ATTENTION,
    PACKED_ATTENTION,
    STANDARD,
)
from tfgraph.passes.legalise import legalise
from tfgraph.passes.projections import pack
from tfgraph.passes.quantise.plan import Plan
from tfgraph.passes.quantise.rewrite import quantise
from tfgraph.passes.report import PassResult
from tfgraph.passes.shared_weights import share_weights
from tfgraph.passes.unpad import unpad

Planner: TypeAlias = Callable[[Graph, Capabilities], Plan]
"""What makes a plan for a graph that is prepared for a target."""

_CANONICAL = frozenset({"canonical"})


def _is_supported(target: Capabilities, key: str) -> bool:
    return key in target.operators


def _is_folded(target: Capabilities, _key: str) -> bool:
    return target.attention.layout == "folded"


def _is_microsoft(target: Capabilities, key: str) -> bool:
    return target.attention.layout == "microsoft" and key in target.operators


@cache
def preparing() -> Pipeline:
    """Canonicalise and fuse, for a target: everything up to where sites of quantisation are looked for.

    What is left may hold operators that the target lacks: `quantising` finishes it. Made once, since it keeps the
    patterns it has traced.
    """
    return Pipeline(
        (
            FunctionPass("canonicalise", canonicalise, ensures=_CANONICAL),
            FusionPass("fuse", STANDARD, CANONICAL),
            FunctionPass("clean", clean),
            FunctionPass("uncover-positions", uncover_positions, requires=_CANONICAL),
            FusionPass("fuse-caches", (CACHED_ATTENTION,), CANONICAL, runs_cached_attention),
            FunctionPass("group-query-attention", use_group_query_attention),
            FunctionPass("attention-masks", prepare_masks, requires=_CANONICAL),
            FusionPass("fold-heads", (FOLDED_ATTENTION,), CANONICAL, _is_folded),
            FusionPass("fuse-heads", (MULTI_HEAD_ATTENTION,), CANONICAL, _is_microsoft),
            FunctionPass("write-out-masks", write_out_masks),
            FunctionPass("pack-projections", pack),
            FusionPass("fuse-projections", (PACKED_ATTENTION,), CANONICAL, _is_microsoft),
            FusionPass("fuse-contrib", CONTRIB, CANONICAL, _is_supported),
            FunctionPass("share-weights", share_weights),
        )
    )


_FINISHING = (
    FunctionPass("legalise", legalise, ensures=frozenset({"legal"})),
    FunctionPass("clean-up", clean),
)


@cache
def optimising() -> Pipeline:
    """Canonicalise, fuse, and write out what the target lacks."""
    return Pipeline((*preparing().passes, *_FINISHING))


def quantising(plan: Plan | Planner) -> Pipeline:
    """Quantise a graph that `preparing` has been over, and write out what the target lacks.

    `plan` is a plan for this graph, or a function that makes one when the passes get there. A search prepares a graph
    once, and runs this on a copy of it for each plan that it tries. The quantising pass changes what a model computes,
    so that a comparison after every pass must allow for it.
    """

    def run(graph: Graph, target: Capabilities) -> PassResult:
        return quantise(graph, target, plan(graph, target) if callable(plan) else plan)

    return Pipeline((FunctionPass("quantise", run), *_FINISHING))


def optimising_with(plan: Plan | Planner) -> Pipeline:
    """`preparing` and `quantising(plan)` in one."""
    return Pipeline((*preparing().passes, *quantising(plan).passes))


def unpadding(pipeline: Pipeline) -> Pipeline:
    """`pipeline`, with what works on each token by itself put on real tokens only, once all is fused."""
    passes = list(pipeline.passes)
    place = 1 + next((index for index, step in enumerate(passes) if step.name == "share-weights"), -1)
    return Pipeline((*passes[:place], FunctionPass("unpad", unpad), *passes[place:]))


def unfused() -> Pipeline:
    """Only what a target needs to run the graph at all: the reference that the optimised graph is compared with."""
    return Pipeline((FunctionPass("clean", clean), _FINISHING[0]))
