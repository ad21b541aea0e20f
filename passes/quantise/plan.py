"""What can be asked of a quantised product: the scheme, the weight in integers, and the plan for a whole graph.

Only data lives here. Sites are found in `sites.py`, integers are chosen in `weights.py`, `gptq.py` and `hqq.py`, and
`rewrite.py` carries a plan out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from tfgraph.errors import ConfigError
from tfgraph.ir.constant import Array, Constant

Kind: TypeAlias = Literal["dynamic", "static", "weight_only"]

_BITS: Final[Mapping[str, tuple[int, ...]]] = {"dynamic": (7, 8), "static": (7, 8), "weight_only": (2, 4, 8)}
_BLOCKS: Final = (16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Scheme:
    """How a product is quantised.

    Attributes:
        kind: "dynamic" has int8 weights with a scale a column, and activations quantised when the model runs;
            "static" has the same weights, and activations quantised with a range that calibration found, in
            operators of the standard alone; "weight_only" has weights with a scale a block, and float activations.
        bits: bits of a weight: 8 for "dynamic" and "static", or 7, which does not saturate on processors whose 8-bit
            products add in 16 bits (x86 with AVX2 and without VNNI); 2, 4 or 8 for "weight_only".
        block_size: for "weight_only", how many weights of a column share a scale: 16, 32, 64, 128 or 256. Otherwise 0.
        symmetric: without zero points. For "weight_only" a zero point a block costs `bits` a block and takes half the
            error from lopsided blocks; "dynamic" and "static" weights are faster without.

    Raises:
        ConfigError: a combination that no operator has.
    """

    kind: Kind
    bits: int = 8
    block_size: int = 0
    symmetric: bool = True

    def __post_init__(self) -> None:
        if self.kind not in _BITS:
            raise ConfigError(f"no quantisation of kind {self.kind!r}: expected one of {', '.join(_BITS)}")
        if self.bits not in _BITS[self.kind]:
            allowed = " or ".join(map(str, _BITS[self.kind]))
            raise ConfigError(f"a {self.kind} scheme was given bits={self.bits}: expected {allowed}")
        if self.kind == "weight_only" and self.block_size not in _BLOCKS:
            allowed = ", ".join(map(str, _BLOCKS))
            raise ConfigError(f"a weight_only scheme was given block_size={self.block_size}: expected one of {allowed}")
        if self.kind != "weight_only" and self.block_size:
            raise ConfigError(
                f"a {self.kind} scheme was given block_size={self.block_size}: its weights have one scale a column; "
                "leave block_size out, or choose weight_only"
            )
        if self.kind == "static" and not self.symmetric:
            raise ConfigError("a static scheme was given symmetric=False: runtimes take no zero points of its weights")

    def __str__(self) -> str:
        lopsided = "" if self.symmetric else ", asymmetric"
        block = f", blocks of {self.block_size}" if self.block_size else ""
        return f"{self.kind} {self.bits} bit{block}{lopsided}"


@dataclass(frozen=True, eq=False)
class QuantizedWeight:
    """A weight matrix [K, N] in integers; the float weight is `(data - zero_points) * scales`.

    Attributes:
        data: without blocks int8 (uint8 with zero points) [K, N]. With blocks uint8 [N, blocks, block_size * bits / 8],
            blocks = ceil(K / block_size), each byte filled from its lowest bits on, and unsigned integers in it: the
            layout of MatMulNBits.
        scales: float32 [N], or [N, blocks].
        zero_points: None for symmetric weights (with blocks: every zero point is 2^(bits - 1)); uint8 [N], or packed as
            the data [N, ceil(blocks * bits / 8)].
        bits, block_size: as in `Scheme`; block_size is 0 without blocks.
        shape: (K, N).
    """

    data: Constant
    scales: Constant
    zero_points: Constant | None
    bits: int
    block_size: int
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        features, columns = self.shape
        if self.block_size:
            blocks = -(-features // self.block_size)
            wanted: dict[str, tuple[int, ...]] = {
                "data": (columns, blocks, self.block_size * self.bits // 8),
                "scales": (columns, blocks),
                "zero_points": (columns, -(-blocks * self.bits // 8)),
            }
        else:
            wanted = {"data": (features, columns), "scales": (columns,), "zero_points": (columns,)}
        for name, shape in wanted.items():
            given: Constant | None = getattr(self, name)
            if given is not None and given.shape != shape:
                raise ConfigError(
                    f"a quantised weight of {features} x {columns} with {self.bits} bits and block_size="
                    f"{self.block_size} was given {name} {list(given.shape)}: expected {list(shape)}"
                )

    @property
    def nbytes(self) -> int:
        """Bytes of integers, scales and zero points together."""
        return self.data.nbytes + self.scales.nbytes + (0 if self.zero_points is None else self.zero_points.nbytes)

    def fits(self, scheme: Scheme, shape: tuple[int, int]) -> bool:
        """Whether this is a weight of `shape` (K, N) in the layout that `scheme` asks for."""
        return (
            self.shape == shape
            and (self.bits, self.block_size) == (scheme.bits, scheme.block_size)
            and (self.zero_points is None) == scheme.symmetric
        )


@dataclass(frozen=True)
class ActivationRange:
    """How the activation of a static product is quantised: `quantised = round(x / scale) + zero_point`.

    uint8, or with `signed` int8. TensorRT takes signed ranges with the zero point 0 alone.
    """

    scale: float
    zero_point: int
    signed: bool = False

    def __post_init__(self) -> None:
        low = -128 if self.signed else 0
        if not 0 < self.scale < float("inf") or not low <= self.zero_point <= low + 255:
            raise ConfigError(
                f"an activation range was given scale={self.scale} and zero_point={self.zero_point}: "
                f"expected a finite scale above 0 and a zero point from {low} to {low + 255}"
            )

    @classmethod
    def of(cls, low: float, high: float, *, symmetric: bool = False) -> ActivationRange:
        """The range that covers `low` to `high`, and 0; with `symmetric`, int8 with the zero point 0.

        Raises:
            ConfigError: bounds that are not finite.
        """
        low, high = min(low, 0.0), max(high, 0.0)
        if symmetric:
            return cls(max(-low, high) / 127 or 1.0, 0, signed=True)
        scale = (high - low) / 255 or 1.0
        if not 0 < scale < float("inf"):
            raise ConfigError(f"an activation range was given from {low} to {high}: expected finite bounds")
        return cls(scale, min(255, max(0, round(-low / scale))))


@dataclass(frozen=True, eq=False)
class SitePlan:
    """What becomes of one site.

    Attributes:
        scheme: how it is quantised.
        weights: integers chosen by a better method than rounding to nearest, of the weight after smoothing; None to
            round to nearest when the file is written.
        smoothing: float32 [K], all above 0: the activation is divided by it, and the weight's rows are multiplied by
            it; None for no smoothing.
        activation: for a static scheme, the range of the activation (after smoothing).
        scales_rows: for a dynamic scheme, whether the rows of the activation are scaled before (`rows.py`).
    """

    scheme: Scheme
    weights: QuantizedWeight | None = None
    smoothing: Array | None = None
    activation: ActivationRange | None = None
    scales_rows: bool = False

    def __post_init__(self) -> None:
        if self.scales_rows and self.scheme.kind != "dynamic":
            raise ConfigError(f"a plan with a {self.scheme.kind} scheme was asked to scale rows: dynamic ones alone do")
        if (self.scheme.kind == "static") != (self.activation is not None):
            has = "no activation range" if self.activation is None else "an activation range"
            raise ConfigError(f"a plan with a {self.scheme.kind} scheme was given {has}: static schemes alone take one")


Plan: TypeAlias = Mapping[str, SitePlan]
"""Plans by the names of sites; a site without one stays in floating point."""
