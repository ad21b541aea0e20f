"""The pipeline: the passes that make a graph of primitives the best graph for a target, in order."""

from __future__ import annotations

from functools import cache

from tfgraph.capabilities import Capabilities
from tfgraph.passes.attention_masks import prepare_masks, write_out_masks
from tfgraph.passes.base import FunctionPass, Pipeline
from tfgraph.passes.canonical import CANONICAL
from tfgraph.passes.canonicalise import canonicalise
from tfgraph.passes.cleanup import clean
from tfgraph.passes.fusion import FusionPass
from tfgraph.passes.fusions import CONTRIB, FOLDED_ATTENTION, MULTI_HEAD_ATTENTION, PACKED_ATTENTION, STANDARD
from tfgraph.passes.legalise import legalise
from tfgraph.passes.projections import pack
from tfgraph.passes.shared_weights import share_weights

_CANONICAL = frozenset({"canonical"})


def _is_supported(target: Capabilities, key: str) -> bool:
    return key in target.operators


def _is_folded(target: Capabilities, _key: str) -> bool:
    return target.attention.layout == "folded"


def _is_microsoft(target: Capabilities, key: str) -> bool:
    return target.attention.layout == "microsoft" and key in target.operators


@cache
def optimising() -> Pipeline:
    """Canonicalise, fuse, and write out what the target lacks. Made once, since it keeps the patterns it has traced."""
    return Pipeline(
        (
            FunctionPass("canonicalise", canonicalise, ensures=_CANONICAL),
            FusionPass("fuse", STANDARD, CANONICAL),
            FunctionPass("clean", clean),
            FunctionPass("attention-masks", prepare_masks, requires=_CANONICAL),
            FusionPass("fold-heads", (FOLDED_ATTENTION,), CANONICAL, _is_folded),
            FusionPass("fuse-heads", (MULTI_HEAD_ATTENTION,), CANONICAL, _is_microsoft),
            FunctionPass("write-out-masks", write_out_masks),
            FunctionPass("pack-projections", pack),
            FusionPass("fuse-projections", (PACKED_ATTENTION,), CANONICAL, _is_microsoft),
            FusionPass("fuse-contrib", CONTRIB, CANONICAL, _is_supported),
            FunctionPass("share-weights", share_weights),
            FunctionPass("legalise", legalise, ensures=frozenset({"legal"})),
            FunctionPass("clean-up", clean),
        )
    )


def unfused() -> Pipeline:
    """Only what a target needs to run the graph at all: the reference that the optimised graph is compared with."""
    return Pipeline(
        (
            FunctionPass("clean", clean),
            FunctionPass("legalise", legalise, ensures=frozenset({"legal"})),
        )
    )
