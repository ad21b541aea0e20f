"""Execution providers are tried, not believed."""

from __future__ import annotations

from typing import Any

import onnxruntime
import pytest

from tfgraph.backends.onnxruntime import providers
from tfgraph.backends.onnxruntime.providers import CPU_PROVIDER, find_provider, usable_providers
from tfgraph.errors import TargetError


@pytest.fixture(autouse=True)
def fresh_answers() -> Any:
    """The answers are kept for the process; each test asks afresh."""
    for function in (usable_providers, providers.why_unusable):
        function.cache_clear()
    yield
    for function in (usable_providers, providers.why_unusable):
        function.cache_clear()


def test_the_cpu_is_usable_under_any_spelling() -> None:
    assert usable_providers()[-1] == CPU_PROVIDER
    assert find_provider("cpu") == find_provider("CPU") == find_provider(CPU_PROVIDER) == CPU_PROVIDER


def test_an_unknown_provider() -> None:
    with pytest.raises(
        TargetError, match=r"no execution provider 'cpuu': did you mean CPUExecutionProvider\? It has: "
    ):
        find_provider("cpuu")
    with pytest.raises(TargetError, match=r"no execution provider 'abacus'\. It has: "):
        find_provider("abacus")


def test_a_provider_that_is_listed_and_does_not_work(monkeypatch: Any) -> None:
    """A made-up provider: ONNX Runtime cannot make a session on it alone, so that it does not count."""
    listed = ["MadeUpExecutionProvider", "CUDAExecutionProvider", CPU_PROVIDER]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)

    def fail(*args: Any, **kwargs: Any) -> Any:
        if kwargs["providers"] == ["CUDAExecutionProvider"]:
            raise onnxruntime.capi.onnxruntime_pybind11_state.EPFail("[ONNXRuntimeError] : 11 : EP_FAIL : no device")
        return type("Session", (), {"get_providers": lambda self: [CPU_PROVIDER]})()

    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    assert usable_providers() == (CPU_PROVIDER,)
    with pytest.raises(TargetError) as error:
        find_provider("cuda")
    assert str(error.value) == (
        "CUDAExecutionProvider does not work on this machine (it needs an NVIDIA GPU, its driver, and the CUDA and "
        "cuDNN libraries of the version that onnxruntime-gpu was built for): no device. "
        "Usable here: CPUExecutionProvider"
    )
    with pytest.raises(TargetError, match="its libraries cannot be loaded, or it finds no device"):
        find_provider("MadeUp")


def test_every_listed_provider_is_usable_or_says_why() -> None:
    for name in onnxruntime.get_available_providers():
        if name in usable_providers():
            assert find_provider(name) == name
        else:
            with pytest.raises(TargetError, match=f"{name} does not work on this machine"):
                find_provider(name)


@pytest.mark.gpu
def test_cuda_is_usable_where_there_is_a_gpu() -> None:
    assert find_provider("cuda") == "CUDAExecutionProvider"
