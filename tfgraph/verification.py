"""Comparing two ONNX files: the same random inputs through both, and how far their outputs are apart.

ONNX Runtime's own optimiser is off, so that the files are compared as they are written. How far results may be apart is
in `tolerance.py`, what random inputs are in `random_inputs.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from tfgraph.backends.interface import TensorSpec
from tfgraph.backends.onnx.read import from_onnx
from tfgraph.backends.onnxruntime.session import Session
from tfgraph.errors import InputError, TargetError
from tfgraph.ir.constant import Array
from tfgraph.ir.dims import Dim, Expr, symbols_of
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph
from tfgraph.manifest import read_manifest
from tfgraph.models.family import WHOLE_MODEL
from tfgraph.random_inputs import free_symbols, random_inputs, sizes_by_part
from tfgraph.tolerance import TOLERANCE, arrays_in, relative_error

DEFAULT_CASES: Final = 3
_SIZES: Final = ((2, 5, 3, 7, 4, 6), (1, 17, 2, 8, 3, 5), (3, 2, 4, 6, 5, 7), (2, 13, 3, 9, 4, 8), (1, 1, 1, 1, 1, 1))
"""For each case a size for each name, used in turn."""


@dataclass(frozen=True)
class Difference:
    """How far an output of two files is apart, at its worst over all cases.

    Attributes:
        absolute: largest difference of two elements; infinite where shapes differ, or only one is not a number.
        relative: that, relative to the larger of 1 and the largest magnitude in the first file's output.
        allowed: the largest `relative` that still counts as equal.
        note: what differs besides numbers, such as the shape.
    """

    output: str
    dtype: DType
    absolute: float
    relative: float
    allowed: float
    note: str = ""

    @property
    def equal(self) -> bool:
        """Whether the outputs count as equal."""
        return self.relative <= self.allowed

    def as_dict(self) -> dict[str, Any]:
        """The difference as plain data, for JSON, where an infinite number is null."""
        return {
            "output": self.output,
            "dtype": str(self.dtype),
            "absolute": self.absolute if np.isfinite(self.absolute) else None,
            "relative": self.relative if np.isfinite(self.relative) else None,
            "allowed": self.allowed,
            "equal": self.equal,
            "note": self.note,
        }


@dataclass(frozen=True)
class Comparison:
    """The outputs of two files, and the sizes of the inputs of each case that was run."""

    differences: list[Difference]
    sizes: list[dict[str, int]]

    @property
    def equal(self) -> bool:
        """Whether all outputs count as equal."""
        return all(difference.equal for difference in self.differences)

    def as_dict(self) -> dict[str, Any]:
        """The comparison as plain data, for JSON."""
        return {
            "equal": self.equal,
            "cases": self.sizes,
            "outputs": [difference.as_dict() for difference in self.differences],
        }


def compare(
    first: str | Path,
    second: str | Path,
    *,
    sizes: Mapping[str, int] | None = None,
    cases: int = DEFAULT_CASES,
    seed: int = 0,
    tolerance: float | None = None,
) -> Comparison:
    """Run two ONNX files on the same random inputs, of other sizes in each case, and compare their outputs.

    Args:
        first: the reference.
        second: what is compared with it.
        sizes: sizes to use in every case, by the names in the first file; other sizes vary from case to case.
        cases: how many times to run them.
        seed: of the random numbers.
        tolerance: the largest relative error to allow; by default that of the output's element type.

    Raises:
        OnnxError: a file is damaged.
        TargetError: ONNX Runtime lacks a kernel, or failed while it ran.
        InputError: the files do not take the same inputs or give the same outputs, or a size is wrong.
    """
    if cases < 1:
        raise InputError(f"{cases} cases compare nothing: give 1 or more")
    graph = from_onnx(first)
    reference, other = (Session(path, optimize=False) for path in (first, second))
    _check_same("inputs", (first, reference.inputs), (second, other.inputs))
    _check_same("outputs", (first, reference.outputs), (second, other.outputs))
    chosen = _choose_sizes(graph, reference, other, sizes or {}, cases)
    worst: dict[str, Difference] = {}
    for case, settled in enumerate(chosen):
        inputs = random_inputs(graph, settled, seed * cases + case)
        expected, found = _run(first, reference, inputs, settled), _run(second, other, inputs, settled)
        for name, spec in reference.outputs.items():
            difference = _difference(spec, expected[name], found[name], tolerance)
            if name not in worst or difference.relative > worst[name].relative:
                worst[name] = difference
    return Comparison(list(worst.values()), chosen)


def compare_exports(
    first: str | Path,
    second: str | Path,
    *,
    sizes: Mapping[str, int] | None = None,
    cases: int = DEFAULT_CASES,
    seed: int = 0,
    tolerance: float | None = None,
) -> dict[str, Comparison]:
    """Compare two models as `compare` does, each given as an ONNX file or as the folder of an export, graph by graph.

    Returns the comparison of each graph, by its name.

    Raises:
        ConfigError: a folder is no export.
        InputError: the models run as different graphs; and as for `compare`, as are the other errors.
    """
    ours, theirs = _files_of(Path(first)), _files_of(Path(second))
    if set(ours) != set(theirs):
        raise InputError(
            f"{first} consists of {' and '.join(ours)}, {second} of {' and '.join(theirs)}: expected two models that "
            "run as the same graphs"
        )
    known = sizes_by_part({part: from_onnx(path) for part, path in ours.items()}, sizes or {})
    return {
        part: compare(path, theirs[part], sizes=known[part], cases=cases, seed=seed, tolerance=tolerance)
        for part, path in ours.items()
    }


def _files_of(path: Path) -> dict[str, Path]:
    """The ONNX files of a model, by the names of its graphs."""
    if not path.is_dir():
        return {WHOLE_MODEL: path}
    return {name: path / part.file for name, part in read_manifest(path).parts.items()}


def _run(path: str | Path, session: Session, inputs: Mapping[str, Array], sizes: Mapping[str, int]) -> dict[str, Array]:
    try:
        return session.run(inputs)
    except (InputError, TargetError) as error:
        shown = ", ".join(f"{name}={size}" for name, size in sizes.items())
        hint = f". It ran with {shown}: where a size is too large, or follows from another, choose it" if shown else ""
        raise type(error)(f"{path}: {error}{hint}") from None


def _difference(spec: TensorSpec, expected: Array, found: Array, tolerance: float | None) -> Difference:
    exact = not spec.dtype.is_float
    allowed = 0.0 if exact else TOLERANCE.get(spec.dtype, 0.0) if tolerance is None else tolerance
    if spec.containers:
        return _contained_difference(spec, arrays_in(expected), arrays_in(found), allowed)
    if expected.shape != found.shape:
        note = f"shape {list(found.shape)} instead of {list(expected.shape)}"
        return Difference(spec.name, spec.dtype, np.inf, np.inf, allowed, note)
    if spec.dtype is DType.STRING:
        count = int((expected != found).sum())
        note = f"{count} of {expected.size} texts differ" if count else ""
        return Difference(spec.name, spec.dtype, np.inf if count else 0.0, np.inf if count else 0.0, allowed, note)
    relative = relative_error(found, expected)
    if np.isinf(relative):
        return Difference(spec.name, spec.dtype, np.inf, np.inf, allowed, "elements that are not finite differ")
    return Difference(spec.name, spec.dtype, _largest_difference(expected, found), relative, allowed)


def _contained_difference(spec: TensorSpec, expected: list[Array], found: list[Array], allowed: float) -> Difference:
    """The worst difference of the tensors in two sequences, or in optional values."""
    if len(expected) != len(found):
        note = f"{len(found)} tensors instead of {len(expected)}"
        return Difference(spec.name, spec.dtype, np.inf, np.inf, allowed, note)
    plain = replace(spec, containers=())
    differences = [_difference(plain, *pair, allowed) for pair in zip(expected, found, strict=True)]
    equal = Difference(spec.name, spec.dtype, 0.0, 0.0, allowed)
    return max(differences, key=lambda difference: difference.relative, default=equal)


def _largest_difference(expected: Array, found: Array) -> float:
    wide, other = expected.astype(np.float64), found.astype(np.float64)
    finite = np.isfinite(wide)
    return float(np.abs(wide[finite] - other[finite]).max()) if finite.any() else 0.0


def _check_same(
    what: str, first: tuple[str | Path, Mapping[str, TensorSpec]], second: tuple[str | Path, Mapping[str, TensorSpec]]
) -> None:
    """Refuse files whose inputs or outputs have other names or element types.

    Raises:
        InputError: naming every difference.
    """
    problems = []
    for (path, own), (_, theirs) in ((first, second), (second, first)):
        only = [name for name in own if name not in theirs]
        if only:
            problems.append(f"only {path} has {', '.join(repr(name) for name in only)}")
    for name, spec in first[1].items():
        twin = second[1].get(name, spec)
        if twin.dtype_text != spec.dtype_text:
            problems.append(f"'{name}' is {spec.dtype_text} in {first[0]} and {twin.dtype_text} in {second[0]}")
    if problems:
        raise InputError(f"the files cannot be compared, their {what} differ: {'; '.join(problems)}")


def _choose_sizes(
    graph: Graph, reference: Session, other: Session, given: Mapping[str, int], cases: int
) -> list[dict[str, int]]:
    """The sizes of each case, by the names in the first file.

    Small ones, of which no two neighbours are alike, so that axes that were mixed up show. Sizes that the second file
    fixes or that it knows to be equal are so; and exporters name the sizes of each input apart, so that those of
    integer inputs of one rank are taken to be equal as well.

    Raises:
        InputError: a size of another name than the first file's, or below 1.
    """
    names = free_symbols(graph)
    for name, size in given.items():
        if name not in names or size < 1:
            problem = f"there is no size '{name}'" if name not in names else f"{name}={size} is no size"
            raise InputError(f"{problem}: the first file leaves open {', '.join(names) or 'none'}, each 1 or more")
    equal = _Equal()
    for name, spec in reference.inputs.items():
        for axis, (ours, theirs) in enumerate(zip(spec.shape or (), other.inputs[name].shape or (), strict=False)):
            key = _key("first", ours)
            equal.join(key, _key("second", theirs))
            if spec.dtype.is_integer and spec.shape is not None:
                equal.join(key, f"axis {axis} of {len(spec.shape)}" if key is not None else None)
    fixed = {equal.root(f"first {name}"): size for name, size in given.items()}
    for dim in [dim for spec in other.inputs.values() for dim in spec.shape or ()]:
        if isinstance(dim, int):
            fixed.setdefault(equal.root(f"second {dim}"), dim)
    chosen = []
    for case in range(cases):
        row, grown = _SIZES[case % len(_SIZES)], case // len(_SIZES)
        sizes = dict(fixed)
        for name in names:
            sizes.setdefault(equal.root(f"first {name}"), row[(len(sizes) - len(fixed)) % len(row)] + grown)
        chosen.append({name: sizes[equal.root(f"first {name}")] for name in names})
    return chosen


def _key(side: str, dim: Dim | None) -> str | None:
    """What a size is called among those of both files; None for arithmetic, which follows from others."""
    if dim is None or (isinstance(dim, Expr) and str(dim) not in set(symbols_of(dim))):
        return None
    return f"{side} {dim}"


class _Equal:
    """Which keys stand for the same thing: sets that grow together."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def root(self, key: str) -> str:
        """The key that stands for all that are the same as `key`."""
        while key in self._parents:
            key = self._parents[key]
        return key

    def join(self, key: str | None, other: str | None) -> None:
        """Note that both are the same; nothing where one is None."""
        if key is not None and other is not None and self.root(key) != self.root(other):
            self._parents[self.root(key)] = self.root(other)
