"""Units: sites that are quantised alike, because they share an activation or a weight; and their plans and errors.

Errors here are estimates on a few rows of the activation, of the products alone. How far a whole model is off is
measured (`runner.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Final

import numpy as np

from tfgraph.ir.constant import Array, ArrayConstant
from tfgraph.passes.quantise.packing import dequantise
from tfgraph.passes.quantise.plan import QuantizedWeight, Scheme, SitePlan
from tfgraph.passes.quantise.rows import can_scale_rows
from tfgraph.passes.quantise.sites import Site
from tfgraph.passes.quantise.weights import round_to_nearest, scale_rows
from tfgraph.quantization.observe import Activation
from tfgraph.quantization.profiles import Profile
from tfgraph.quantization.schemes import FLOAT, SCALES_ROWS, SCHEMES, SMOOTHABLE, relative_time, uses_hessian
from tfgraph.quantization.smoothing import best_smoothing

_COLUMNS: Final = 512
"""Columns of a matrix that errors are estimated on."""


_EXACT: Final = 1e-4
"""The share of a weight's squares that rounding may lose to count as exact; 4 bits lose a hundred times as much."""


def nothing() -> Mapping[str, SitePlan]:
    """The plans of a unit that stays in floating point."""
    return {}


@dataclass(frozen=True)
class Choice:
    """A unit under one scheme.

    Attributes:
        scheme: its short name.
        time: how long its products take, in parameters of float32 products.
        error: an estimate of its share in the model's error; 0 for float.
        plans: gives the plans of its sites, by name, made when they are first asked for; none for float.
        exponent: that of the smoothing; 0 for none.
    """

    scheme: str
    time: float
    error: float
    plans: Callable[[], Mapping[str, SitePlan]] = nothing
    exponent: float = 0.0


@dataclass(frozen=True)
class Unit:
    """Sites that are quantised alike, and what they can be: the fastest first, each slower one with a smaller error."""

    sites: tuple[Site, ...]
    choices: tuple[Choice, ...]

    @property
    def name(self) -> str:
        """The name of its first site."""
        return self.sites[0].name

    @property
    def num_parameters(self) -> int:
        """Weights of its sites, shared ones once."""
        return sum(site.num_parameters for site in distinct(self.sites))


def distinct(sites: Sequence[Site]) -> list[Site]:
    """The sites, without further readers of a weight."""
    known: set[str] = set()
    found = []
    for site in sites:
        if site.name not in known:
            found.append(site)
        known.update((site.name, *site.shared_with))
    return found


def group_sites(sites: Sequence[Site]) -> list[tuple[Site, ...]]:
    """The sites in groups that share an activation or a weight, in the order of their first."""
    parent = {site.name: site.name for site in sites}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    first: dict[object, str] = {}
    for site in sites:
        shared = [first.setdefault(("activation", site.activation.name), site.name)] if site.kind == "linear" else []
        for other in (*shared, *(name for name in site.shared_with if name in parent)):
            parent[root(site.name)] = root(other)
    groups: dict[str, list[Site]] = {}
    for site in sites:
        groups.setdefault(root(site.name), []).append(site)
    return [tuple(group) for group in groups.values()]


def make_unit(
    sites: tuple[Site, ...], profile: Profile, seen: Mapping[str, Activation], wanted: Sequence[str] | None = None
) -> Unit:
    """The unit of `sites`, its choices those of `profile`, or `wanted`; choices that gain nothing are left out."""
    names = wanted
    if names is None:
        lists = [profile.candidates(site) for site in sites]
        tied = {site.kind for site in sites} == {"linear", "embedding"}
        names = profile.embedding if tied else min(lists, key=len)
        if not all(can_scale_rows(site) for site in sites):
            names = [name for name in names if name not in SCALES_ROWS] or [profile.uncalibrated]
    activation = next((seen[site.activation.name] for site in sites if site.activation.name in seen), None)
    size = sum(site.num_parameters for site in sites)
    decided = len(names) == 1 and (activation is None or not (profile.smooth and names[0] in SMOOTHABLE))
    untouched = decided or set(names) == {FLOAT}
    columns = [] if untouched else [site.matrix.numpy()[:, :_COLUMNS] for site in distinct(sites)]
    made: list[Choice] = []
    for name in names:
        time = size * relative_time(name, one_row=profile.decoder)
        if name == FLOAT:
            made.append(Choice(FLOAT, time, 0.0))
            continue
        scheme = SCHEMES[name]
        vector, exponent = None, 0.0
        rows = None if activation is None or sites[0].kind != "linear" else activation.rows
        if decided:
            error = 1.0
        elif scheme.kind != "dynamic":
            error = _block_error(rows, columns, scheme)
        elif activation is None or rows is None:
            error = _block_error(None, columns, scheme)
        elif profile.smooth:
            error_of = partial(_dynamic_error, activation, columns, each_row=name in SCALES_ROWS)
            vector, error, exponent = best_smoothing(activation.largest, columns, error_of)
        else:
            error = _dynamic_error(activation, columns, None, each_row=name in SCALES_ROWS)
        plans = cache(partial(_plans, sites, name, activation, vector, lazy=not seen))
        made.append(Choice(name, time, error, plans, exponent))
    return Unit(sites, tuple(_useful(made)))


def _useful(choices: Sequence[Choice]) -> list[Choice]:
    """The choices from the fastest on, each with a smaller error than all before it."""
    kept: list[Choice] = []
    for choice in sorted(choices, key=lambda choice: (choice.time, choice.error)):
        if not kept or choice.error < kept[-1].error:
            kept.append(choice)
    return kept


def _plans(
    sites: tuple[Site, ...], name: str, activation: Activation | None, smoothing: Array | None, lazy: bool
) -> dict[str, SitePlan]:
    """The plans of sites under one scheme, the integers of each weight made once."""
    scheme = SCHEMES[name]
    names = {site.name for site in sites}
    plans: dict[str, SitePlan] = {}
    for site in distinct(sites):
        seen = None if activation is None or site.kind != "linear" else activation.hessian
        hessian = seen if uses_hessian(name) else None
        weights = _integers(site, scheme, hessian, smoothing, lazy)
        plan = SitePlan(scheme, weights, smoothing, scales_rows=name in SCALES_ROWS)
        plans.update({each: plan for each in (site.name, *site.shared_with) if each in names})
    return plans


def _integers(
    site: Site, scheme: Scheme, hessian: Array | None, smoothing: Array | None, lazy: bool
) -> QuantizedWeight:
    """The integers of a weight: by GPTQ where its activation was seen, by HQQ for few bits otherwise.

    A weight that had so few bits before, as in a GGUF file, is only rounded: any other choice would lose something.
    What is only rounded to 8 bits is not read until it is written, or run to measure it.
    """
    from tfgraph.passes.quantise.gptq import gptq
    from tfgraph.passes.quantise.hqq import hqq

    matrix = site.matrix if smoothing is None else scale_rows(site.matrix, smoothing)
    if not scheme.symmetric:
        rounded = in_memory(round_to_nearest(matrix, scheme, site.name))
        if _is_exact(matrix.numpy(), rounded):
            return rounded
    if hessian is not None:
        scaled = hessian if smoothing is None else hessian / np.outer(smoothing, smoothing)
        return gptq(matrix.numpy(), scaled, scheme, name=site.name)
    if not scheme.symmetric:
        return hqq(matrix, scheme, site.name)
    weight = round_to_nearest(matrix, scheme, site.name)
    return weight if lazy else in_memory(weight)


def _is_exact(matrix: Array, rounded: QuantizedWeight) -> bool:
    """Whether rounding lost next to nothing, relative to the norm of the weight."""
    lost = float(np.square(dequantise(rounded) - matrix).sum())
    return lost <= _EXACT * float(np.square(matrix).sum())


def in_memory(weight: QuantizedWeight) -> QuantizedWeight:
    """The same integers, computed once and kept."""
    zeros = None if weight.zero_points is None else ArrayConstant(weight.zero_points.numpy())
    data, scales = ArrayConstant(weight.data.numpy()), ArrayConstant(weight.scales.numpy())
    return QuantizedWeight(data, scales, zeros, weight.bits, weight.block_size, weight.shape)


def _lost(exact: Sequence[Array], got: Sequence[Array]) -> float:
    """The squared error of each row relative to that row's square, in the mean.

    Relative to each row, since a few rows are so much larger than all others that their errors would hide the rest.
    """
    wrong = sum(np.square(b - a).sum(axis=1) for a, b in zip(exact, got, strict=True))
    right = sum(np.square(a).sum(axis=1) for a in exact)
    return float(np.mean(wrong / np.maximum(right, 1e-30))) if np.size(right) else 0.0


def _dynamic_error(
    seen: Activation, weights: Sequence[Array], smoothing: Array | None, *, each_row: bool = False
) -> float:
    """The relative error of products with 8-bit activations and weights.

    The scale of activations is that of each row, or that of all that was seen: a batch may have anything of it.
    """
    rows, divisor = seen.rows, np.float32(1) if smoothing is None else smoothing
    smooth = rows / divisor
    if each_row:
        sizes = np.maximum(np.abs(smooth).max(axis=1, keepdims=True), 1e-20)
        quantised = _eight_bits(smooth / sizes, -1.0, 1.0) * sizes
    else:
        quantised = _eight_bits(smooth, float((seen.low / divisor).min()), float((seen.high / divisor).max()))
    exact, got = [], []
    for weight in weights:
        scaled = weight if smoothing is None else weight * smoothing[:, None]
        scale = np.abs(scaled).max(axis=0) / 127
        scale[scale == 0] = 1.0
        exact.append(rows @ weight)
        got.append(quantised @ (np.rint(scaled / scale) * scale))
    return _lost(exact, got)


def _block_error(rows: Array | None, weights: Sequence[Array], scheme: Scheme) -> float:
    """The relative error of products whose activation has 8 bits a block; of the weights, where none was seen."""
    found = [dequantise(round_to_nearest(ArrayConstant(np.ascontiguousarray(each)), scheme)) for each in weights]
    if rows is None or not rows.size:
        return float(np.mean([_lost([each.T], [other.T]) for each, other in zip(weights, found, strict=True)]))
    quantised = _eight_bits_a_block(rows, scheme.block_size)
    return _lost([rows @ each for each in weights], [quantised @ each for each in found])


def _eight_bits(x: Array, low: float, high: float) -> Array:
    """`x` as uint8 over a range that has 0 in it, and back, as DynamicQuantizeLinear has it."""
    scale = (high - low) / 255 or 1.0
    zero = np.rint(-low / scale)
    return np.asarray((np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale, np.float32)


def _eight_bits_a_block(rows: Array, block_size: int) -> Array:
    """Rows as int8 with a scale a block, and back, as MatMulNBits has them at accuracy level 4."""
    count, width = rows.shape
    padded = np.pad(rows, ((0, 0), (0, -width % block_size))).reshape(count, -1, block_size)
    scale = np.abs(padded).max(axis=-1, keepdims=True) / 127
    scale[scale == 0] = 1.0
    return np.asarray((np.rint(padded / scale) * scale).reshape(count, -1)[:, :width], np.float32)
