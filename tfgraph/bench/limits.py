"""What the machine can do at most: arithmetic of matrix products by type, and reading memory.

Each is the best of several runs of the fastest way at hand, so a figure is what was reached, not what the makers say.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tfgraph.ir.constant import Array

_ROWS: Final = 1024
_IN: Final = 1024
_OUT: Final = 4096
_BYTES: Final = 1 << 28
_REPEATS: Final = 5


@dataclass(frozen=True)
class Limits:
    """What was reached; None where it cannot be measured here.

    Attributes:
        fp32, int8, bf16: operations of a matrix product a second, an addition and a multiplication counting as two.
        bandwidth: bytes read from memory a second.
    """

    fp32: float | None
    int8: float | None
    bf16: float | None
    bandwidth: float

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {
            "fp32_gflops": _giga(self.fp32),
            "int8_gops": _giga(self.int8),
            "bf16_gflops": _giga(self.bf16),
            "memory_gb_per_second": _giga(self.bandwidth),
        }


def measure_limits(threads: int, rows: int = _ROWS, size: int = _BYTES) -> Limits:
    """Measure what the machine does with so many threads.

    Args:
        threads: of each measurement.
        rows: of the matrices that are multiplied with one of 1,024 x 4,096.
        size: bytes that are read, which has to be far beyond the processor's caches.
    """
    generator = np.random.default_rng(0)
    left = generator.standard_normal((rows, _IN), np.float32)
    right = generator.standard_normal((_IN, _OUT), np.float32)
    operations = 2.0 * rows * _IN * _OUT
    return Limits(
        fp32=_rate(operations, _product(threads, left, right)),
        int8=_rate(operations, _product_int8(threads, left, right)),
        bf16=_rate(operations, _product_bf16(threads, left, right)),
        bandwidth=_bandwidth(threads, size),
    )


def _rate(amount: float, run: Callable[[], object] | None) -> float | None:
    """The amount a second of the fastest run."""
    if run is None:
        return None
    run()
    best = float("inf")
    for _ in range(_REPEATS):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return amount / best


def _product(threads: int, left: Array, right: Array) -> Callable[[], object]:
    import onnx

    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    return _session(threads, [node], {"w": right}, left)


def _product_int8(threads: int, left: Array, right: Array) -> Callable[[], object]:
    """A product of 8-bit integers: the activations, quantised once as the weights are, are not part of the time."""
    import onnx

    bytes_ = np.clip(right * 32, -127, 127).astype(np.int8)
    node = onnx.helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    return _session(threads, [node], {"w": bytes_}, np.clip(left * 32 + 128, 0, 255).astype(np.uint8), integer=True)


def _session(
    threads: int, nodes: list[Any], weights: dict[str, Array], given: Array, integer: bool = False
) -> Callable[[], object]:
    import onnx

    from tfgraph.backends.onnxruntime.session import Session

    kinds = (onnx.TensorProto.UINT8, onnx.TensorProto.INT32) if integer else (onnx.TensorProto.FLOAT,) * 2
    graph = onnx.helper.make_graph(
        nodes,
        "product",
        [onnx.helper.make_tensor_value_info("x", kinds[0], given.shape)],
        [onnx.helper.make_tensor_value_info("y", kinds[1], [given.shape[0], _OUT])],
        [onnx.numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    session = Session(model.SerializeToString(), num_threads=threads, config={"session.force_spinning_stop": "1"})
    return lambda: session.run({"x": given})


def _product_bf16(threads: int, left: Array, right: Array) -> Callable[[], object] | None:
    """By torch, the one library here that multiplies bfloat16 on any processor; None without it."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    torch.set_num_threads(threads)
    first, second = torch.from_numpy(left).bfloat16(), torch.from_numpy(right).bfloat16()
    return lambda: first @ second


def _bandwidth(threads: int, size: int) -> float:
    """Bytes a second: the maximum of a long array is found by all threads, each in a part of its own."""
    parts = np.array_split(np.ones(size // 4, np.float32), threads)
    with ThreadPoolExecutor(threads) as pool:
        return _rate(float(size), lambda: list(pool.map(np.maximum.reduce, parts))) or 0.0


def _giga(value: float | None) -> float | None:
    return None if value is None else round(value / 1e9, 2)
