"""What every test relies on: no network, the same numbers on every run, `gpu` tests skipped where there is no GPU."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

# Before anything imports the libraries that read them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.pop("TFGRAPH_DUMP", None)
if "PYTEST_XDIST_WORKER" in os.environ:  # one thread for each of the processes, or they get in each other's way
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest

hypothesis.settings.register_profile("tfgraph", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.load_profile("tfgraph")


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same on every run, whatever the order of the tests."""
    return np.random.default_rng(20261)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def heavy_modules() -> frozenset[str]:
    """What takes long to import: allowed only inside the functions that use it."""
    tools = {"networkx", "pandas", "rich", "safetensors", "scipy", "sympy", "tokenizers", "typer"}
    formats = {"onnx", "onnx_graphsurgeon", "onnx_ir", "onnxscript", "transformers"}
    return frozenset(tools | formats | {"onnxruntime", "tensorrt", "tensorrt_rtx_bindings", "torch"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `gpu` on a machine without one."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not _cuda_works():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="ONNX Runtime finds no CUDA device that works"))


@cache
def _cuda_works() -> bool:
    """Whether a session on CUDA alone can be made; the list of available providers names CUDA without a GPU too."""
    import onnx
    import onnxruntime

    node = onnx.helper.make_node("Neg", ["x"], ["y"])
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "probe", [x], [y]),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    onnxruntime.set_default_logger_severity(4)  # else it reports the missing libraries at length
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CUDAExecutionProvider"], enable_fallback=0
        )
    except Exception:  # noqa: BLE001 - whatever the reason, there is no GPU to test on
        return False
    finally:
        onnxruntime.set_default_logger_severity(2)  # its own default
    return "CUDAExecutionProvider" in session.get_providers()
