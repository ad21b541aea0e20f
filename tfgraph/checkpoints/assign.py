"""Which tensor of a checkpoint becomes which parameter of a model.

Pairing is by name, and complete or refused: every parameter gets exactly one tensor of its own shape, and every tensor
is used, or named by the model family as one that may be left over. General differences between names are known to
`tfgraph.checkpoints.names`; the wording of what does not fit is in `tfgraph.checkpoints.mismatch`. No element is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from tfgraph.checkpoints.mismatch import Misfit, Mismatch
from tfgraph.checkpoints.names import detect_prefix, spellings
from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import Constant
from tfgraph.ir.dtypes import DType
from tfgraph.ir.transforms import cast

Expected = Mapping[str, tuple[DType, tuple[int, ...]]]


@dataclass(frozen=True)
class MatchedWeights:
    """A model's parameters, each with its weights.

    `weights` has every parameter's name, in the model's order; tied ones share one `Constant`. `ignored` are the
    checkpoint's tensors that the model has no use for, `prefix` is what the names on the two sides differ by, and
    `tied` maps each parameter that the checkpoint lacks to the parameter whose weights it took.
    """

    weights: dict[str, Constant]
    ignored: list[str] = field(default_factory=list)
    prefix: str = ""
    tied: dict[str, str] = field(default_factory=dict)


def match_weights(
    expected: Expected,
    given: Mapping[str, Constant],
    *,
    rename: Callable[[str], str | None] | None = None,
    ignore: Iterable[str] = (),
    tied: Mapping[str, str] | None = None,
    source: str | Path | None = None,
) -> MatchedWeights:
    """Pair a model's parameters with a checkpoint's tensors.

    Args:
        expected: the model's parameters: name to dtype and shape.
        given: the checkpoint's tensors, by their names there.
        rename: from a checkpoint's name to the model's name for it; None for a tensor that the model never uses. The
            common prefix may still be missing or superfluous in what it returns.
        ignore: shell patterns of tensors that may be left over, such as `cls.*` (a `*` also crosses dots). They are
            tried on a name with and without the common prefix; a tensor that a parameter wants is never ignored.
        tied: parameter to parameter: where one of the two is absent from the checkpoint, it takes the other's weights.
        source: where the checkpoint came from, to be named in an error.

    A tensor of another floating-point type than its parameter is converted when it is read, and an integer one widened.

    Raises:
        CheckpointError: parameters without a tensor, tensors without a parameter, wrong shapes, dtypes that do not
            convert: one error that lists all of them.
    """
    tied, patterns = tied or {}, tuple(ignore)
    renamed = {name: name if rename is None else rename(name) for name in given}
    prefix = detect_prefix([name for name in renamed.values() if name is not None], expected)
    found_as = _pair(expected, renamed, prefix)
    used = set(found_as.values())
    left_over = [name for name in given if name not in used]
    ignored = {name for name in left_over if _is_ignored(name, renamed[name], prefix, patterns)}
    taken_from = _tie(expected, found_as, tied)

    mismatch = Mismatch(
        missing={name: kind for name, kind in expected.items() if name not in taken_from},
        unexpected={name: given[name] for name in left_over if name not in ignored},
        tied=dict(tied),
    )
    weights: dict[str, Constant] = {}
    for name in (name for name in expected if name in taken_from):
        dtype, shape = expected[name]
        constant = given[found_as[taken_from[name]]]
        misfit = Misfit(name, found_as[taken_from[name]], constant, dtype, tuple(shape))
        if constant.shape != misfit.shape:
            mismatch.misshapen.append(misfit)
        elif not _converts(constant.dtype, dtype):
            mismatch.mistyped.append(misfit)
        weights[name] = constant
    if mismatch:
        raise CheckpointError(
            mismatch.message(source, {name: given[name] for name in left_over}, num_expected=len(expected))
        )
    return MatchedWeights(
        weights=_converted(weights, expected),
        ignored=sorted(ignored),
        prefix=prefix,
        tied={name: other for name, other in taken_from.items() if name != other},
    )


def _pair(expected: Expected, renamed: Mapping[str, str | None], prefix: str) -> dict[str, str]:
    """Parameter to tensor. A tensor that has a parameter's very name comes before one that resembles it."""
    found_as: dict[str, str] = {}
    for name, meant in renamed.items():
        if meant is not None and meant in expected:
            found_as.setdefault(meant, name)
    for name, meant in renamed.items():
        if meant is None or meant in expected:
            continue
        spelling = next((each for each in spellings(meant, prefix) if each in expected and each not in found_as), None)
        if spelling is not None:
            found_as[spelling] = name
    return found_as


def _tie(expected: Expected, found_as: Mapping[str, str], tied: Mapping[str, str]) -> dict[str, str]:
    """Parameter to the parameter whose tensor it takes: itself where the checkpoint has it, else one tied to it."""
    found_in_group: dict[str, str] = {}  # the last of a chain of ties -> a parameter of the chain that has a tensor
    for name in found_as:
        end = _end_of_ties(name, tied)
        if name == end or end not in found_in_group:
            found_in_group[end] = name
    taken_from: dict[str, str] = {}
    for name in expected:
        other = name if name in found_as else found_in_group.get(_end_of_ties(name, tied))
        if other is not None:
            taken_from[name] = other
    return taken_from


def _end_of_ties(name: str, tied: Mapping[str, str]) -> str:
    """Where following the ties from `name` ends; a circle ends at its alphabetically first member."""
    seen: list[str] = []
    while name in tied and name not in seen:
        seen.append(name)
        name = tied[name]
    return min(seen[seen.index(name) :]) if name in seen else name


def _is_ignored(name: str, meant: str | None, prefix: str, patterns: tuple[str, ...]) -> bool:
    if meant is None:
        return True
    known_as = {name, *spellings(name, prefix), *spellings(meant, prefix)}
    return any(fnmatchcase(spelling, pattern) for pattern in patterns for spelling in known_as)


def _converts(found: DType, wanted: DType) -> bool:
    """Whether a tensor of one dtype may fill a parameter of the other: any float a float, an integer a wider one."""
    if found is wanted or (found.is_float and wanted.is_float):
        return True
    return found.is_integer and wanted.is_integer and bool(np.can_cast(found.numpy(), wanted.numpy(), "safe"))


def _converted(weights: Mapping[str, Constant], expected: Expected) -> dict[str, Constant]:
    """Each weight in its parameter's dtype; what was shared stays shared."""
    done: dict[tuple[int, DType], Constant] = {}
    result: dict[str, Constant] = {}
    for name, constant in weights.items():
        dtype = expected[name][0]
        if constant.dtype is dtype:
            result[name] = constant
            continue
        key = (id(constant), dtype)
        if key not in done:
            done[key] = cast(constant, dtype)
        result[name] = done[key]
    return result
