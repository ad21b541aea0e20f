"""Random inputs: of the declared types, valid as indices, the same for the same seed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tfgraph as tg
from tfgraph import functional as F
from tfgraph import nn
from tfgraph.errors import InputError
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph
from tfgraph.ir.interpret import interpret
from tfgraph.random_inputs import default_sizes, free_symbols, random_inputs


def embedding_graph(rows: int = 5) -> Graph:
    table = nn.Embedding(rows, 4)
    table.init_weights()
    return tg.trace(lambda ids: table(F.cast(ids, "int64")), ids=tg.spec("int32", ["batch", "seq"]))


def graph_of(**inputs: tuple[str, list[object]]) -> Graph:
    graph = Graph("g")
    for name, (dtype, shape) in inputs.items():
        declared = tg.spec(dtype, shape)
        graph.set_output(f"{name}_out", graph.add_input(name, declared.dtype, declared.shape))
    return graph


def test_shapes_and_dtypes_follow_the_declaration():
    graph = graph_of(
        x=("float32", ["batch", "seq", 8]),
        half=("float16", ["seq"]),
        wide=("bfloat16", [2]),
        mask=("bool", ["batch", "past + seq"]),
    )
    inputs = random_inputs(graph, {"batch": 3, "past": 4, "seq": 2})
    assert {name: (str(DType(str(array.dtype))), array.shape) for name, array in inputs.items()} == {
        "x": ("float32", (3, 2, 8)),
        "half": ("float16", (2,)),
        "wide": ("bfloat16", (2,)),
        "mask": ("bool", (3, 6)),
    }


def test_sizes_that_are_not_given_differ_from_their_neighbours():
    graph = graph_of(x=("float32", ["a", "b", "c", "d"]), y=("float32", ["e", "a"]))
    assert free_symbols(graph) == ["a", "b", "c", "d", "e"]
    sizes = list(default_sizes(graph).values())
    assert all(size != following for size, following in itertools.pairwise(sizes))
    assert random_inputs(graph)["y"].shape == (sizes[4], sizes[0])


def test_indices_are_valid_for_the_table_that_they_reach():
    graph = embedding_graph(rows=5)
    ids = random_inputs(graph, {"batch": 50, "seq": 50})["ids"]
    assert ids.dtype == np.int32 and ids.min() == 0 and ids.max() == 4
    assert interpret(graph, {"ids": ids})["output"].shape == (50, 50, 4)


def test_other_integers_are_masks_with_something_in_every_row():
    graph = graph_of(attention_mask=("int64", ["batch", "seq"]), flag=("bool", []))
    mask = random_inputs(graph, {"batch": 40, "seq": 9})["attention_mask"]
    assert set(np.unique(mask)) == {0, 1}
    assert (mask[:, 0] == 1).all()


def test_a_seed_settles_everything():
    graph = graph_of(x=("float32", ["n"]), mask=("int64", ["n"]))
    first, again, other = (random_inputs(graph, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["x"], other["x"])


def test_what_cannot_be_made():
    with pytest.raises(InputError, match="input 'words' is text: random inputs are numbers only"):
        random_inputs(graph_of(words=("string", [2])))
    unknown = Graph("g")
    unknown.set_output("y", unknown.add_input("x", DType.FLOAT32, None))
    with pytest.raises(InputError, match="the rank of input 'x' is not known: give the inputs yourself"):
        random_inputs(unknown)
