"""Errors of ONNX Runtime as errors of tfgraph: the message is kept, the traceback of a dependency is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

from tfgraph.errors import TFGraphError

_PREFIX: Final = re.compile(r"^\s*\[ONNXRuntimeError\]\s*:\s*\d+\s*:\s*(\w+)\s*:\s*")
_PLACES: Final = re.compile(r"(^|\s)/\S*/onnxruntime/\S+:\d+\s+\S+\(?[^)]*\)?\s*")


@cache
def runtime_errors() -> tuple[type[Exception], ...]:
    """Every exception class that ONNX Runtime raises."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError)


def message(error: BaseException) -> str:
    """What ONNX Runtime says, without its error number and the places in its source."""
    return _PLACES.sub(" ", _PREFIX.sub("", str(error))).strip()


def kind(error: BaseException) -> str:
    """The kind of failure: the name of the exception's class, such as `NotImplemented` or `InvalidGraph`."""
    return type(error).__name__


@contextmanager
def runtime_errors_as(error_type: type[TFGraphError], what: str) -> Iterator[None]:
    """Turn an exception of ONNX Runtime into `error_type`, its message after `what`."""
    try:
        yield
    except TFGraphError:
        raise
    except runtime_errors() as error:
        raise error_type(f"{what}: {message(error)}") from None
