"""Chains longer than any exporter writes: rules look at a few links of them, and neither recurse nor go astray."""

from __future__ import annotations

import pytest

from tfgraph.dsl import functional as F
from tfgraph.ir.verify import verify
from tfgraph.passes.canonical import CANONICAL, LATE

LENGTH = 1200  # more than Python's limit on recursion allows
SCORES = "1 1 4 4"


def views(x, keep, op):
    result = x * 0.5
    for _ in range(LENGTH // 2):
        result = F.reshape(F.transpose(result, (0, 1, 3, 2)), (1, 1, 4, 4))
    return F.matmul(result, x)


def choices(x, keep, op):
    scores = F.matmul(x, x)
    for _ in range(LENGTH):
        scores = F.where(keep, scores, -1e9)
    weights = F.softmax(scores)
    return F.matmul(F.where(op("IsNaN", weights), 0.0, weights), x)


def biases(x, keep, op):
    scores = F.matmul(x, x)
    for _ in range(LENGTH):
        scores = scores + F.cast(keep, "float32")
    return F.matmul(F.softmax(scores), x)


def groups(x, keep, op):
    scores = F.matmul(F.reshape(x, (1, 1, 1, 4, 4)), F.reshape(x, (1, 1, 1, 4, 4)))
    for _ in range(LENGTH):
        scores = scores + F.cast(keep, "float32")
    return F.matmul(F.softmax(scores), F.reshape(x, (1, 1, 1, 4, 4)))


def casts(x, keep, op):
    result = x / F.sqrt(F.reduce_mean(x * x, (-1,)) + 1e-6)
    for _ in range(LENGTH // 2):
        result = F.cast(F.cast(result, "float16"), "float32")
    return result


@pytest.mark.parametrize("forward", [views, choices, biases, groups, casts])
def test_rules_end(graph_of, op, forward):
    graph = graph_of(lambda x, keep: forward(x, keep, op), x=SCORES, keep="bool 4 4")
    CANONICAL.apply(graph)
    LATE.apply(graph)
    verify(graph)
