"""`precision="bf16"`: matrix products in bfloat16, by OpenVINO where it and the processor have them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tfgraph.errors import BudgetError, TargetError
from tfgraph.sessions import OPENVINO
from tfgraph.ways import BFLOAT16, PLAIN, Choice, Trial, Way, error_of, has_cache, held_out_cases, session_of

if TYPE_CHECKING:
    from tfgraph.compiler import CompiledModel
    from tfgraph.quantization.request import Request


def compile_in_bfloat16(
    request: Request, model: object, target: str, compile_for: Callable[[Way], CompiledModel], num_threads: int | None
) -> CompiledModel:
    """The model in bfloat16; for the target `cpu`, in float32 where that does not work here, with the reason.

    Raises:
        TargetError: for the target `openvino`, where bfloat16 does not work here.
        BudgetError: the error is beyond the budget.
    """
    from tfgraph.backends.openvino.availability import why_unusable

    budget, reason = request.budget, why_unusable("bf16")
    compiled = None if reason is not None else compile_for(BFLOAT16)
    if compiled is not None and has_cache(compiled.graph):
        reason = "a cache of keys and values is kept by ONNX Runtime alone, whose CPU kernels have no bfloat16"
    if compiled is None or reason is not None:
        if target == OPENVINO:
            raise TargetError(f"the model cannot be run in bfloat16: {reason}. Choose precision fp32")
        plain = compile_for(PLAIN)
        plain.choice = Choice(PLAIN, "", (Trial(BFLOAT16, {}, reason=str(reason)), Trial(PLAIN, {})))
        return plain
    error = None
    if budget is not None:
        plain = compile_for(PLAIN)
        with tempfile.TemporaryDirectory(prefix="tfgraph-bf16-") as name:
            models = {PLAIN: plain, BFLOAT16: compiled}
            sessions = {way: session_of(way, each, Path(name), num_threads) for way, each in models.items()}
            error = error_of(BFLOAT16, compiled, sessions, budget, held_out_cases(request, model, plain.graph))
        if not budget.met_by(error):
            raise BudgetError(
                f"in bfloat16 {budget.metric} is {error:.6g}, and the budget is {budget}: loosen it, or choose "
                'precision "fp32" or "auto"'
            )
    compiled.choice = Choice(BFLOAT16, "" if budget is None else budget.metric, (Trial(BFLOAT16, {}, error),))
    return compiled
