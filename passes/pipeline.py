"""The pipeline: the passes that make a graph of primitives the best graph for a target, in order."""

from __future__ import annotations

from tfgraph.passes.attention_masks import masks_for_adding_kernels
from tfgraph.passes.base import FunctionPass, Pipeline
from tfgraph.passes.canonical import CANONICAL
from tfgraph.passes.canonicalise import canonicalise
from tfgraph.passes.cleanup import clean
from tfgraph.passes.fusion import FusionPass
from tfgraph.passes.fusions import CONTRIB, MULTI_HEAD_ATTENTION, PACKED_ATTENTION, STANDARD
from tfgraph.passes.legalise import legalise
from tfgraph.passes.projections import pack

_CANONICAL = frozenset({"canonical"})


def optimising() -> Pipeline:
    """Canonicalise, fuse, and write out what the target lacks."""
    return Pipeline(
        (
            FunctionPass("canonicalise", canonicalise, ensures=_CANONICAL),
            FusionPass("fuse", STANDARD, CANONICAL),
            FunctionPass("clean", clean),
            FunctionPass("attention-masks", masks_for_adding_kernels, requires=_CANONICAL),
            FusionPass("fuse-attention-layout", (MULTI_HEAD_ATTENTION,), CANONICAL, if_supported=True),
            FunctionPass("pack-projections", pack),
            FusionPass("fuse-contrib", (PACKED_ATTENTION, *CONTRIB), CANONICAL, if_supported=True),
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
