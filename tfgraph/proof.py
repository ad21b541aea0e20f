"""The proof that an optimised file computes what the original does: both run on the same inputs, and are compared.

ONNX Runtime's own optimiser is off in both. Which inputs are tried is in `generated_cases.py`; how far results may be
apart in `tolerance.py`. Comparing two files that a user names is in `verification.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from tfgraph.backends.onnxruntime.session import Session
from tfgraph.errors import InputError, OnnxError, TargetError, VerificationError
from tfgraph.generated_cases import Case, guess_sizes, make_cases
from tfgraph.ir.constant import Array
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph, Value
from tfgraph.random_inputs import free_symbols
from tfgraph.tolerance import TOLERANCE, arrays_in, relative_error

Verdict = Literal["equal", "not verified", "not asked for"]
_ROUNDS: Final = 3  # of sizes
_STORED: Final = frozenset({"Cast", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})


@dataclass(frozen=True)
class Proof:
    """What comparing the original with the optimised file gave.

    Attributes:
        verdict: "equal", "not verified" where the comparison was not possible, or "not asked for".
        reason: why it was not verified.
        cases: what was run, in words.
        errors: for each output the largest error found, relative to the largest magnitude of the original's.
        padding: outputs that differ at positions of padding, which no text reads, by more than is allowed elsewhere;
            with the largest error found there. They are not in `errors`.
    """

    verdict: Verdict
    reason: str = ""
    cases: tuple[str, ...] = ()
    errors: Mapping[str, float] = field(default_factory=dict)
    padding: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The proof as plain data, for JSON."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "cases": list(self.cases),
            "errors": dict(self.errors),
            "padding": dict(self.padding),
        }

    def __str__(self) -> str:
        match self.verdict:
            case "equal":
                worst = max(self.errors.values(), default=0.0)
                said = f"verified: the same results in {len(self.cases)} runs, largest relative error {worst:.2g}"
                if self.padding:
                    outputs = ", ".join(f"{name} (by {error:.2g})" for name, error in self.padding.items())
                    said += f"; where there is padding, these differ: {outputs}"
                return said
            case "not verified":
                return f"NOT verified: {self.reason}"
        return "not verified: it was not asked for"


def prove(
    graph: Graph, original: Path, optimised: Path, on_case: Callable[[int, int], None] | None = None, seed: int = 0
) -> Proof:
    """Run `original` and `optimised` on generated inputs, and compare their outputs.

    `graph` is the original as read, from which inputs are generated. `on_case(done, total)` is told about progress.

    Returns:
        That they are equal, or why it cannot be told: ONNX Runtime does not run the original, or no inputs for it are
        known.

    Raises:
        VerificationError: they differ, or the optimised file does not run where the original does. The message names
            the output, the error, the tolerance, and the inputs' shapes.
    """
    try:
        reference = Session(original, optimize=False, quiet=True)
    except (OnnxError, TargetError) as error:
        return Proof("not verified", f"ONNX Runtime does not load the original: {error}")
    try:
        other = Session(optimised, optimize=False, quiet=True)
    except (OnnxError, TargetError) as error:
        raise VerificationError(
            f"the original loads in ONNX Runtime and the optimised model does not: {error}"
        ) from None
    try:
        runs = list(_runnable(graph, reference, seed))
    except InputError as error:
        return Proof("not verified", f"no inputs can be generated: {error}")
    except TargetError as error:
        return Proof("not verified", f"ONNX Runtime does not run the original on generated inputs: {error}")
    errors: dict[str, float] = {}
    padding: dict[str, float] = {}
    computed = computed_in(graph)
    for index, (case, expected) in enumerate(runs):
        if on_case is not None:
            on_case(index, len(runs))
        try:
            found = other.run(case.inputs)
        except (InputError, TargetError) as error:
            raise VerificationError(f"the original runs on {case}, and the optimised model does not: {error}") from None
        for name, array in expected.items():
            distance, allowed = _distance(found[name], array, computed.get(name, reference.outputs[name].dtype))
            if distance > allowed:
                anywhere, distance = distance, _distance_at_text(case, found[name], array, distance)
                if distance <= allowed:
                    padding[name] = max(padding.get(name, 0.0), anywhere)
            if distance > allowed:
                if not _repeats(reference, case, expected):
                    return Proof("not verified", "the original draws random numbers: each run gives other results")
                raise VerificationError(
                    f"the output '{name}' of the optimised model differs from the original's by {distance:.3g} "
                    f"relative to its largest value, where {allowed:.3g} is allowed, on {case}"
                )
            errors[name] = max(errors.get(name, 0.0), distance)
    return Proof("equal", cases=tuple(str(case) for case, _ in runs), errors=errors, padding=padding)


def _runnable(graph: Graph, reference: Session, seed: int) -> Iterator[tuple[Case, dict[str, Array]]]:
    """Inputs that the original runs on, with its outputs.

    Raises:
        InputError: no inputs can be made.
        TargetError: it runs on none of them; the message is that about the likeliest.
    """
    rounds = _ROUNDS if free_symbols(graph) else 1
    worked = 0  # the guess that did: the next one of its kind is likely to
    first: TargetError | InputError | None = None
    found = False
    for row in range(rounds):
        guesses = list(guess_sizes(graph, row))
        for index in sorted(range(len(guesses)), key=lambda index: (index < worked, index)):
            sizes = guesses[index]
            cases = make_cases(graph, sizes, seed + row)
            try:
                case = next(cases)
                expected = reference.run(case.inputs)
            except (InputError, TargetError) as error:
                first = first or error
                continue
            found, worked = True, index
            yield case, expected
            for case in cases:
                try:
                    yield case, reference.run(case.inputs)
                except TargetError:  # a mask that the model was not made for
                    continue
            break
    if not found:
        raise first if first is not None else InputError("there are none")


def computed_in(graph: Graph) -> dict[str, DType]:
    """For each floating-point output, the coarsest dtype in which anything on the way to it is computed.

    Half precision with a last sum in float32 is as exact as half precision is. What is only stored in half precision,
    such as weights that a cast widens, does not count, nor do views.
    """
    coarsest: dict[Value, DType] = {}
    for node in graph:
        known = [coarsest[value] for value in node.inputs if value in coarsest]
        for value in node.outputs:
            mine = [value.dtype] if value.dtype in TOLERANCE and node.key not in _STORED else []
            if known or mine:
                coarsest[value] = max((*known, *mine), key=TOLERANCE.__getitem__)
    return {
        name: max(coarsest.get(value, value.dtype), value.dtype, key=TOLERANCE.__getitem__)
        for name, value in graph.outputs.items()
        if value.dtype in TOLERANCE
    }


def _distance(found: Array, expected: Array, dtype: DType) -> tuple[float, float]:
    """How far apart two outputs are, and how far they may be."""
    if not isinstance(expected, np.ndarray) or not isinstance(found, np.ndarray):
        return _distance_of_containers(found, expected, dtype)
    if dtype is DType.STRING:
        same = found.shape == expected.shape and bool(np.array_equal(found, expected))
        return (0.0 if same else float("inf")), 0.0
    return relative_error(found, expected), TOLERANCE.get(dtype, 0.0) if dtype.is_float else 0.0


def _distance_of_containers(found: Any, expected: Any, dtype: DType) -> tuple[float, float]:
    """That of two sequences, or of optional values."""
    ours, theirs = arrays_in(expected), arrays_in(found)
    pairs = [_distance(*pair, dtype) for pair in zip(theirs, ours, strict=False)]
    distance = max((one for one, _ in pairs), default=0.0)
    return (distance if len(ours) == len(theirs) else float("inf")), max((most for _, most in pairs), default=0.0)


def _distance_at_text(case: Case, found: Array, expected: Array, distance: float) -> float:
    """How far apart two outputs are where there is no padding.

    At a position before the text, a decoder has nothing to attend to: what it computes there is whatever its exporter's
    way of masking leaves over, and no other position reads it.
    """
    if not isinstance(expected, np.ndarray) or found.shape != expected.shape:
        return distance
    positions = case.text_positions(expected.shape)
    if positions is not None:
        kept, axis = positions
        rows, columns = np.nonzero(kept)
        at = (rows, columns) if axis == 1 else (rows, slice(None), columns)
        return relative_error(found[at], expected[at])
    return distance


def _repeats(reference: Session, case: Case, expected: Mapping[str, Array]) -> bool:
    """Whether the original gives the same again."""
    again = reference.run(case.inputs)
    return all(
        _distance(again[name], array, reference.outputs[name].dtype)[0] == 0.0 for name, array in expected.items()
    )
