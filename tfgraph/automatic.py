"""`precision="auto"`: ways to run a model, tried on this machine; the fastest that keeps to the error budget is kept.

Each way is compiled, its error measured on the calibration inputs that were held out, and its time on inputs of the
user's shapes, in turns with the others. Compiling itself is in `compiler.py`.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np

from tfgraph.bench.interleave import interleave
from tfgraph.errors import BudgetError, ConfigError, InputError, TFGraphError
from tfgraph.ir.constant import Array
from tfgraph.quantization.budget import Budget
from tfgraph.random_inputs import free_symbols, random_inputs
from tfgraph.sessions import OPENVINO
from tfgraph.ways import BFLOAT16, PLAIN, Choice, Trial, Way, error_of, has_cache, held_out_cases, session_of

if TYPE_CHECKING:
    from tfgraph.backends.interface import RunsArrays
    from tfgraph.compiler import CompiledModel
    from tfgraph.ir.graph import Graph
    from tfgraph.quantization.calibration import Case
    from tfgraph.quantization.request import Request

Sizes = Mapping[str, int]
"""A size for each symbol of a model's inputs: `{"batch": 8, "seq": 128}`."""

_ROUNDS: Final = 7
_MANY_ROWS: Final[Sequence[Sizes]] = ({"batch": 1, "seq": 128}, {"batch": 8, "seq": 128})
_ONE_ROW: Final[Sequence[Sizes]] = ({"batch": 1, "seq": 1, "past": 128},)
_WHOLE: Final = (PLAIN, Way("cpu", "int8"), Way(OPENVINO, "fp32"), BFLOAT16)
_WITH_CACHE: Final = (PLAIN, Way("cpu", "int8"), Way("cpu", "int4"))  # a cache is written in place by ONNX Runtime


def ways_for(graph: Graph) -> tuple[Way, ...]:
    """The ways that are tried for a model."""
    return _WITH_CACHE if has_cache(graph) else _WHOLE


def shapes_for(graph: Graph, given: Sequence[Sizes] | None) -> Sequence[Sizes]:
    """The shapes that a model is timed at: those given, or the usual ones of its kind.

    Raises:
        InputError: a symbol that the model has not, a size below 1, or a symbol without a size.
    """
    names = free_symbols(graph)
    if given is None:
        usual = _ONE_ROW if has_cache(graph) else _MANY_ROWS
        return [{name: size for name, size in sizes.items() if name in names} for sizes in usual]
    if not given:
        raise InputError('no shapes to time the model at: expected some, such as [{"batch": 8, "seq": 128}]')
    for sizes in given:
        wrong = [name for name in sizes if name not in names] + [name for name in names if name not in sizes]
        if wrong or any(not isinstance(size, int) or size < 1 for size in sizes.values()):
            raise InputError(
                f"the shape {dict(sizes)} does not fit the model: expected a size of 1 or more for each of "
                f"{', '.join(names) or 'no symbols'}"
            )
    return given


def fastest(
    ways: Sequence[Way],
    compile_for: Callable[[Way], CompiledModel],
    shapes: Sequence[Sizes],
    budget: Budget,
    cases: Sequence[Case],
    *,
    num_threads: int | None = None,
    on_step: Callable[[str, int, int], None] | None = None,
) -> tuple[CompiledModel, Choice]:
    """The fastest of `ways` that keeps to `budget` on `cases`.

    A model is faster if the product of its times at all shapes is smaller, so that each shape counts the same.

    Args:
        ways: what to try; `PLAIN`, the reference for errors, first.
        compile_for: compiles the model a way.
        shapes: sizes of the inputs to time.
        budget: the error that is accepted.
        cases: inputs that errors are measured on.
        num_threads: threads of the sessions.
        on_step: called as `on_step(what, done, total)`.

    Raises:
        BudgetError: none keeps to the budget, not even the reference.
    """
    tell = on_step or (lambda _what, _done, _total: None)
    compiled: dict[Way, CompiledModel] = {}
    left_out: dict[Way, Trial] = {}
    for index, way in enumerate(ways):
        tell(f"compiling {way}", index, len(ways))
        try:
            compiled[way] = compile_for(way)
        except TFGraphError as error:  # what a way cannot do here, it says
            if way == ways[0]:
                raise
            left_out[way] = Trial(way, {}, reason=str(error))
    with tempfile.TemporaryDirectory(prefix="tfgraph-auto-") as folder:
        sessions: dict[Way, RunsArrays] = {}
        errors: dict[Way, float] = {}
        for index, (way, model) in enumerate(compiled.items()):
            tell(f"measuring the error of {way}", index, len(compiled))
            try:
                sessions[way] = session_of(way, model, Path(folder), num_threads)
            except TFGraphError as error:
                left_out[way] = Trial(way, {}, reason=str(error))
                continue
            errors[way] = error_of(way, model, sessions, budget, cases)
            if not budget.met_by(errors[way]):
                left_out[way] = Trial(way, {}, errors[way], f"beyond the budget {budget}")
                if way != ways[0]:
                    del sessions[way]
        kept = [way for way in compiled if way not in left_out]
        if not kept:
            raise BudgetError(f"no way to run the model stays within {budget}: loosen it, or check the calibration")
        times = _times({way: sessions[way] for way in kept}, compiled[ways[0]].graph, shapes, tell)
    best = min(kept, key=lambda way: math.fsum(math.log(value) for value in times[way].values()))
    trials = tuple(left_out.get(way) or Trial(way, times[way], errors[way]) for way in ways)
    return compiled[best], Choice(best, budget.metric, trials)


def _times(
    sessions: Mapping[Way, RunsArrays], graph: Graph, shapes: Sequence[Sizes], tell: Callable[[str, int, int], None]
) -> dict[Way, dict[str, float]]:
    """The median milliseconds of a run of each way, by shape."""
    times: dict[Way, dict[str, float]] = {way: {} for way in sessions}
    for index, sizes in enumerate(shapes):
        tell("timing", index, len(shapes))
        inputs = _full(random_inputs(graph, sizes))
        runs = {str(way): partial(session.run, inputs) for way, session in sessions.items()}
        samples = interleave(runs, rounds=_ROUNDS)
        label = ", ".join(f"{name}={size}" for name, size in sizes.items())
        for way in sessions:
            times[way][label] = 1e3 * median(sample.seconds for sample in samples[str(way)])
    return times


def _full(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """`inputs` without padding, as batches are timed."""
    return {name: np.ones_like(array) if "mask" in name else array for name, array in inputs.items()}


def compile_fastest(
    request: Request,
    model: object,
    compile_for: Callable[[Way], CompiledModel],
    shapes: Sequence[Sizes] | None = None,
    *,
    num_threads: int | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> CompiledModel:
    """The model compiled the fastest way that is within the budget; what was tried is in its `choice`.

    Raises:
        ConfigError: no budget, or no calibration.
        InputError: shapes that do not fit the model.
        BudgetError: nothing stays within the budget.
    """
    budget = _needed(request)
    plain = compile_for(PLAIN)
    timed = shapes_for(plain.graph, shapes)
    cases = held_out_cases(request, model, plain.graph)
    chosen, choice = fastest(
        ways_for(plain.graph), lambda way: plain if way == PLAIN else compile_for(way), timed, budget, cases,
        num_threads=num_threads, on_step=on_progress,
    )  # fmt: skip
    chosen.choice = choice
    return chosen


def _needed(request: Request) -> Budget:
    """The budget of "auto", which has to have one and something to measure it on.

    Raises:
        ConfigError: one of them is missing.
    """
    if request.budget is None or request.calibration is None:
        missing = "budget" if request.budget is None else "calibration"
        raise ConfigError(
            f'precision="auto" was given no {missing}: it compares ways of different precision, and needs budget='
            '"cosine>=0.999" (or another) and calibration=[…] to know which error is accepted, and to measure it'
        )
    return request.budget
