"""Caches that grow, and caches that are written into: runs, rows selected, positions kept, models without one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tfgraph
from tfgraph import functional as F
from tfgraph import nn
from tfgraph.backends.onnxruntime.session import Session
from tfgraph.errors import InputError

HEADS, WIDTH, CAPACITY = 2, 3, 6


class Growing(nn.Module):
    """Appends to its cache, and gives the sum of it over positions, heads and features."""

    def forward(self, x: nn.Tensor, past_key_values: Any) -> dict[str, Any]:
        key = F.concat([past_key_values[0]["key"], x], 2)
        return {"total": F.reduce_sum(key, (1, 2, 3), keepdims=False), "present": [{"key": key}]}


class Fixed(nn.Module):
    """Writes into its cache at given positions, and gives the sum of it."""

    def forward(self, x: nn.Tensor, lengths: nn.Tensor, past_key_values: Any) -> dict[str, Any]:
        key = F.tensor_scatter(past_key_values[0]["key"], x, lengths)
        return {"total": F.reduce_sum(key, (1, 2, 3), keepdims=False), "present": [{"key": key}]}


def session(model: nn.Module, length: str | int) -> Session:
    inputs: dict[str, Any] = {"x": tfgraph.spec("float32", ["batch", HEADS, "seq", WIDTH])}
    if isinstance(length, int):
        inputs["lengths"] = tfgraph.spec("int64", ["batch"])
    inputs["past_key_values"] = [{"key": tfgraph.spec("float32", ["batch", HEADS, length, WIDTH])}]
    return tfgraph.compile(model, inputs=inputs).session


def filled(rows: int, seq: int, value: float) -> np.ndarray:
    return np.full((rows, HEADS, seq, WIDTH), value, np.float32)


def test_a_growing_cache_keeps_what_it_is_given() -> None:
    cache = session(Growing(), "past").growing_cache()
    cache.reset(2)
    assert (cache.rows, cache.length) == (2, 0)
    assert cache.run({"x": filled(2, 3, 1.0)})["total"].tolist() == [18.0, 18.0]
    x = np.stack([filled(1, 1, 10.0)[0], filled(1, 1, 20.0)[0]])
    assert cache.run({"x": x})["total"].tolist() == [78.0, 138.0]
    assert (cache.rows, cache.length) == (2, 4)


def test_rows_are_selected_and_positions_kept() -> None:
    cache = session(Growing(), "past").growing_cache()
    cache.reset(2)
    cache.run({"x": np.stack([filled(1, 2, 1.0)[0], filled(1, 2, 2.0)[0]])})
    cache.select(np.asarray([1, 1, 0]))
    assert cache.run({"x": filled(3, 1, 0.0)})["total"].tolist() == [24.0, 24.0, 12.0]
    cache.keep(1)
    assert cache.run({"x": filled(3, 1, 0.0)})["total"].tolist() == [12.0, 12.0, 6.0]
    cache.reset(1)
    assert cache.run({"x": filled(1, 1, 5.0)})["total"].tolist() == [30.0]


def test_a_refused_run_leaves_the_cache() -> None:
    cache = session(Growing(), "past").growing_cache()
    cache.reset(2)
    cache.run({"x": filled(2, 2, 1.0)})
    with pytest.raises(InputError):
        cache.run({"x": np.zeros((2, HEADS, 1), np.float32)})
    assert cache.length == 2
    assert cache.run({"x": filled(2, 1, 0.0)})["total"].tolist() == [12.0, 12.0]


def test_a_fixed_cache_is_written_in_place() -> None:
    cache = session(Fixed(), CAPACITY).fixed_cache()
    assert cache.capacity == CAPACITY
    cache.reset(2)
    buffer = next(iter(cache._buffers.values()))
    lengths = np.asarray([0, 2])
    assert cache.run({"x": filled(2, 2, 1.0), "lengths": lengths})["total"].tolist() == [12.0, 12.0]
    assert buffer[0, 0, :, 0].tolist() == [1, 1, 0, 0, 0, 0]
    assert buffer[1, 0, :, 0].tolist() == [0, 0, 1, 1, 0, 0]
    for value in (3.0, 4.0):  # the second run uses the binding of the first
        cache.run({"x": filled(2, 1, value), "lengths": np.asarray([int(value), 0])})
    assert buffer[0, 0, :, 0].tolist() == [1, 1, 0, 3, 4, 0]
    assert next(iter(cache._buffers.values())) is buffer


def test_rows_of_a_fixed_cache_are_selected() -> None:
    cache = session(Fixed(), CAPACITY).fixed_cache()
    cache.reset(2)
    x = np.stack([filled(1, 1, 1.0)[0], filled(1, 1, 2.0)[0]])
    cache.run({"x": x, "lengths": np.asarray([0, 0])})
    cache.select(np.asarray([1, 0]))
    nothing = {"lengths": np.asarray([5, 5]), "x": filled(2, 1, 0.0)}
    assert cache.run(nothing)["total"].tolist() == [12.0, 6.0]
    cache.select(np.asarray([0]))
    assert cache.run({"lengths": np.asarray([5]), "x": filled(1, 1, 0.0)})["total"].tolist() == [12.0]


def test_the_caller_s_arrays_are_left_alone() -> None:
    cache = session(Fixed(), CAPACITY).fixed_cache()
    cache.reset(1)
    x, lengths = filled(1, 1, 1.0), np.asarray([0])
    cache.run({"x": x, "lengths": lengths})
    cache.run({"x": filled(1, 1, 9.0), "lengths": np.asarray([3])})
    assert x.max() == 1.0
    assert lengths.tolist() == [0]


def test_models_without_such_a_cache_are_refused() -> None:
    class Plain(nn.Module):
        def forward(self, x: nn.Tensor) -> nn.Tensor:
            return x + 1.0

    plain = tfgraph.compile(Plain(), inputs={"x": tfgraph.spec("float32", ["batch"])}).session
    with pytest.raises(InputError, match=r"takes no 'past_key_values\.0\.key'"):
        plain.growing_cache()
    with pytest.raises(InputError, match="of a fixed length"):
        plain.fixed_cache()
    with pytest.raises(InputError, match="of a fixed length"):
        session(Growing(), "past").fixed_cache()


def test_a_fixed_cache_is_given_all_its_inputs_in_every_run() -> None:
    cache = session(Fixed(), CAPACITY).fixed_cache()
    cache.reset(1)
    x, lengths = filled(1, 1, 1.0), np.asarray([0])
    for _ in range(2):  # the second run has the binding of the first
        cache.run({"x": x, "lengths": lengths})
        with pytest.raises(InputError, match="missing input 'lengths'"):
            cache.run({"x": x})
        with pytest.raises(InputError, match=r"no input 'length'.*did you mean 'lengths'"):
            cache.run({"x": x, "length": lengths})
        with pytest.raises(InputError, match="no input 'y'"):
            cache.run({"x": x, "lengths": lengths, "y": x})


def test_a_fixed_cache_begins_with_zeros() -> None:
    cache = session(Fixed(), CAPACITY).fixed_cache()
    for _ in range(2):
        cache.reset(1)
        assert cache.run({"x": filled(1, 1, 1.0), "lengths": np.asarray([0])})["total"].tolist() == [6.0]
        cache.run({"x": filled(1, 1, np.nan), "lengths": np.asarray([3])})


class Scaled(nn.Module):
    """Appends to its cache what it is given times `by`, and gives the sum of it."""

    def forward(self, x: nn.Tensor, by: nn.Tensor, past_key_values: Any) -> dict[str, Any]:
        key = F.concat([past_key_values[0]["key"], x * F.unsqueeze(by, (1, 2, 3))], 2)
        return {"total": F.reduce_sum(key, (1, 2, 3), keepdims=False), "present": [{"key": key}]}


def test_inputs_that_are_held() -> None:
    inputs = {
        "x": tfgraph.spec("float32", ["batch", HEADS, "seq", WIDTH]),
        "by": tfgraph.spec("float32", ["batch"]),
        "past_key_values": [{"key": tfgraph.spec("float32", ["batch", HEADS, "past", WIDTH])}],
    }
    cache = tfgraph.compile(Scaled(), inputs=inputs).session.growing_cache()
    cache.reset(2)
    cache.hold({"by": np.asarray([1, 10], np.float32)})
    assert cache.run({"x": filled(2, 1, 1.0)})["total"].tolist() == [6.0, 60.0]
    assert cache.run({"x": filled(2, 1, 1.0)})["total"].tolist() == [12.0, 120.0]
    cache.hold({"by": np.asarray([2, 3], np.float32)})
    assert cache.run({"x": filled(2, 1, 1.0)})["total"].tolist() == [24.0, 138.0]
    with pytest.raises(InputError, match="no input 'b'"):
        cache.hold({"b": np.zeros(2, np.float32)})
    with pytest.raises(InputError, match="float64, and float32 is expected"):
        cache.hold({"by": np.zeros(2)})
    with pytest.raises(InputError, match="no input 'by'"):
        cache.run({"x": filled(2, 1, 1.0), "by": np.zeros(2, np.float32)})
    cache.hold({})
    with pytest.raises(InputError, match="missing input 'by'"):
        cache.run({"x": filled(2, 1, 1.0)})


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_caches_of_half_precision(dtype: str) -> None:
    class Casting(nn.Module):
        """Appends to its cache, and gives it in float32."""

        def forward(self, x: nn.Tensor, past_key_values: Any) -> dict[str, Any]:
            key = F.concat([past_key_values[0]["key"], F.cast(x, dtype)], 1)
            return {"all": F.cast(key, "float32"), "present": [{"key": key}]}

    inputs = {
        "x": tfgraph.spec("float32", ["batch", "seq"]),
        "past_key_values": [{"key": tfgraph.spec(dtype, ["batch", "past"])}],
    }
    cache = tfgraph.compile(Casting(), inputs=inputs).session.growing_cache()
    cache.reset(2)
    cache.run({"x": np.asarray([[1, 2], [3, 4]], np.float32)})
    cache.select(np.asarray([1, 0, 1]))
    assert cache.run({"x": filled(3, 1, 5.0)[:, 0, :, 0]})["all"].tolist() == [[3, 4, 5], [1, 2, 5], [3, 4, 5]]


def test_a_cache_of_any_length_grows_and_keeps_what_it_holds() -> None:
    inputs: dict[str, Any] = {
        "x": tfgraph.spec("float32", ["batch", HEADS, "seq", WIDTH]),
        "lengths": tfgraph.spec("int64", ["batch"]),
        "past_key_values": [{"key": tfgraph.spec("float32", ["batch", HEADS, "capacity", WIDTH])}],
    }
    cache = tfgraph.compile(Fixed(), inputs=inputs).session.fixed_cache()
    assert cache.capacity is None
    cache.reset(2)
    first = cache.length
    cache.run({"x": filled(2, 2, 1.0), "lengths": np.asarray([0, 1])})
    cache.make_room(first + 1)
    assert cache.length == 2 * first
    total = cache.run({"x": filled(2, 1, 2.0), "lengths": np.asarray([first, 3])})["total"]
    assert total.tolist() == [24.0, 24.0]
    alone = cache.run_row(1, {"x": filled(1, 1, 3.0), "lengths": np.asarray([5])})["total"]
    assert alone.tolist() == [42.0]
    cache.select(np.asarray([1, 0]), positions=6)  # what is behind them stays where it was
    nothing = {"x": filled(2, 1, 0.0), "lengths": np.asarray([9, 9])}
    assert cache.run(nothing)["total"].tolist() == [54.0, 12.0]


def test_a_cache_of_a_number_of_positions_has_no_more() -> None:
    cache = session(Fixed(), CAPACITY).fixed_cache()
    cache.reset(1)
    cache.make_room(CAPACITY)
    with pytest.raises(InputError, match="has 6 positions, and 7 are asked for"):
        cache.make_room(CAPACITY + 1)
