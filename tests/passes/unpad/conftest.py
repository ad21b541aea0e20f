"""What the tests of unpadding share: small models compiled with and without it, graphs of one block, comparisons."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

import tfgraph as tg
from tfgraph import functional as F
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.graph import Graph
from tfgraph.ir.interpret import interpret
from tfgraph.ir.verify import verify
from tfgraph.models.registry import find_family
from tfgraph.passes.report import PassResult
from tfgraph.passes.unpad import unpad
from tfgraph.targets import get_target

Array = np.ndarray[Any, Any]

ENCODER = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 40,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "bert": ENCODER,
    "roberta": ENCODER,
    "albert": {**ENCODER, "embedding_size": 20},
    "distilbert": {
        "vocab_size": 61, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 40, "max_position_embeddings": 40,
    },
    "t5": {"vocab_size": 61, "d_model": 32, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 4},
    "gpt2": {"vocab_size": 61, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 40},
    "qwen3": {**ENCODER, "num_key_value_heads": 2, "head_dim": 8},
}  # fmt: skip


@cache
def _compiled(model_type: str, task: str, target: str) -> tuple[tg.CompiledModel, tg.CompiledModel]:
    model = tg.models.build(find_family(model_type).config.from_dict(SETTINGS[model_type]), task=task)
    return tg.compile(model, target=target), tg.compile(model, target=target, unpad=True)


@pytest.fixture(scope="session")
def compiled() -> Callable[..., tuple[tg.CompiledModel, tg.CompiledModel]]:
    """`compiled("bert")`: a small model as it is, and unpadded; made once."""
    return lambda model_type, task="base", target="cpu": _compiled(model_type, task, target)


def inputs_of(graph: Graph, mask: Array, seed: int = 0) -> dict[str, Array]:
    """Random ids for the tokens of `mask`; the padding token 1 elsewhere, as tokenizers have it."""
    generator = np.random.default_rng(seed)
    mask = np.asarray(mask, np.int64)
    ids = np.where(mask == 1, generator.integers(3, 61, mask.shape), 1)
    given = {"attention_mask": mask, "input_ids": ids, "token_type_ids": generator.integers(0, 2, mask.shape)}
    given["decoder_input_ids"] = generator.integers(3, 61, (len(mask), 3))
    given["decoder_attention_mask"] = np.ones((len(mask), 3), np.int64)
    given["position_ids"] = np.maximum(mask.cumsum(1) - 1, 0)
    return {name: given[name] for name in graph.inputs}


@pytest.fixture(scope="session")
def same_at_tokens() -> Callable[..., None]:
    """`same_at_tokens(plain, packed, mask)`: equal at tokens and zeros at padding, both interpreted and run."""

    def check(plain: tg.CompiledModel, packed: tg.CompiledModel, mask: Any, seed: int = 0) -> None:
        mask = np.asarray(mask, np.int64)
        given = inputs_of(plain.graph, mask, seed)
        expected = interpret(plain.graph, given)
        for results in (interpret(packed.graph, given), packed.run(given)):
            for name, array in results.items():
                compare(array, expected[name], mask, name)

    return check


def compare(array: Array, expected: Array, mask: Array, name: str = "") -> None:
    """Equal at tokens; zeros at padding, if the result has a row for each token; texts without tokens do not count."""
    assert array.shape == expected.shape and array.dtype == expected.dtype
    assert np.isfinite(array).all()
    if array.shape[:2] == mask.shape:
        assert not array[mask == 0].any(), f"{name} is not zero at padding"
        array, expected = array[mask == 1], expected[mask == 1]
    elif len(array) == len(mask):
        array, expected = array[mask.any(1)], expected[mask.any(1)]
    np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-5 * max(float(np.abs(expected).max(initial=0)), 1))


@pytest.fixture(scope="session", name="compare")
def compare_fixture() -> Callable[..., None]:
    return compare


def weight(*shape: int) -> Array:
    """Random numbers, the same for the same shape."""
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32) * np.float32(0.3)


@pytest.fixture(scope="session", name="weight")
def weight_fixture() -> Callable[..., Array]:
    return weight


@pytest.fixture(scope="session")
def attend(op: Callable[..., Any]) -> Callable[..., Any]:
    """`attend(x, bias)`: a linear layer, attention over two heads of four features, and another linear layer."""

    def apply(x: Any, bias: Any, **attributes: Any) -> Any:
        query, key, value = (x @ weight(8, 8) for _ in range(3))
        heads = op("Attention", query, key, value, bias, q_num_heads=2, kv_num_heads=2, **attributes)
        return heads @ weight(8, 8)

    return apply


@pytest.fixture(scope="session")
def hiding() -> Callable[..., Any]:
    """`hiding(mask)`: 0 at tokens and the lowest number at padding, [B, 1, 1, S]."""
    return lambda mask: F.where(F.logical_not(F.equal(mask, 0))[:, None, None, :], 0.0, -3.4e38)


@pytest.fixture(scope="session")
def packed() -> Callable[[Graph], tuple[Graph, PassResult]]:
    """`packed(graph)`: a copy after the pass alone, verified, and what the pass says."""

    def run(graph: Graph, target: str = "cpu") -> tuple[Graph, PassResult]:
        after = copy_graph(graph)
        result = unpad(after, get_target(target))
        verify(after)
        return after, result

    return run


@pytest.fixture(scope="session")
def widths() -> Callable[[Graph, str], list[int]]:
    """`widths(graph, "MatMul")`: the number of axes of each result of that operator; packed ones have one less."""
    return lambda graph, key: [node.output.rank for node in graph if node.key == key]
