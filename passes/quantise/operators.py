"""The quantised operators that take the place of one product or look-up, one function a scheme.

What a target has decides the form: ONNX Runtime's operators, or blockwise DequantizeLinear before a MatMul. Operators
that a target lacks are written out afterwards by the legalising pass. Which sites are rewritten, and what happens to
biases and activations around them, is in `rewrite.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tfgraph.capabilities import Capabilities
from tfgraph.ir.constant import Array, ArrayConstant, Constant, Derived, constant_key
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Value
from tfgraph.ir.transforms import folded, reshaped
from tfgraph.passes.canonical.sizes import size_vector
from tfgraph.passes.quantise.packing import unpack
from tfgraph.passes.quantise.plan import ActivationRange, QuantizedWeight
from tfgraph.passes.quantise.sites import Site
from tfgraph.passes.rewrite import Rewriter

NBITS: Final = "com.microsoft::MatMulNBits"
GATHER: Final = "com.microsoft::GatherBlockQuantized"
DYNAMIC: Final = "com.microsoft::DynamicQuantizeMatMul"
TO_FLOAT: Final = "com.microsoft::MatMulIntegerToFloat"

INT8_ACTIVATIONS: Final = 4
"""MatMulNBits' `accuracy_level` at which kernels may round each block of an activation to int8, for speed."""

_BLOCKWISE_OPSET: Final = 21  # blocks and 4-bit integers came to DequantizeLinear


@dataclass
class Emitter:
    """Adds quantised operators to one graph; a weight or an activation that several of them read is added once."""

    rewriter: Rewriter
    target: Capabilities
    _constants: dict[object, Value] = field(default_factory=dict)
    _quantized: dict[object, tuple[Value, ...]] = field(default_factory=dict)

    def weight_only(self, site: Site, x: Value, weight: QuantizedWeight, bias: Value | None) -> Value:
        """`x @ matrix + bias`, the matrix in blocks."""
        if NBITS not in self.target.operators and self.target.opset >= _BLOCKWISE_OPSET and weight.bits in (4, 8):
            return self._added(self.rewriter.emit("MatMul", [x, self._dequantized_blocks(site, weight)]), bias)
        scales = self._constant(weight.scales, site, "scales")
        zeros = None if weight.zero_points is None else self._constant(weight.zero_points, site, "zero_points")
        features, columns = weight.shape
        attributes = {"K": features, "N": columns, "bits": weight.bits, "block_size": weight.block_size}
        data = self._constant(weight.data, site, f"int{weight.bits}")
        return self.rewriter.emit(
            NBITS, [x, data, scales, zeros, None, bias], {**attributes, "accuracy_level": INT8_ACTIVATIONS}
        )

    def dynamic(self, site: Site, x: Value, weight: QuantizedWeight, bias: Value | None, *, alone: bool) -> Value:
        """`x @ matrix + bias` in int8, the range of `x` found when the model runs.

        `alone`: no other product quantises `x`, so that one operator does both.
        """
        data = self._constant(weight.data, site, "int8")
        scales = self._constant(weight.scales, site, "scales")
        zeros = None if weight.zero_points is None else self._constant(weight.zero_points, site, "zero_points")
        if alone:
            return self.rewriter.emit(DYNAMIC, [x, data, scales, zeros, bias])
        if x not in self._quantized:
            self._quantized[x] = self.rewriter.emit_all("DynamicQuantizeLinear", [x], None, 3)
        quantized, scale, zero = self._quantized[x]
        return self.rewriter.emit(TO_FLOAT, [quantized, data, scale, scales, zero, zeros, bias])

    def static(
        self, site: Site, x: Value, weight: QuantizedWeight, bias: Value | None, activation: ActivationRange
    ) -> Value:
        """`x @ matrix + bias`, `x` and the matrix quantised and dequantised by operators of the standard."""
        key = (x, activation)
        if key not in self._quantized:
            kind = np.int8 if activation.signed else np.uint8
            scale = self._array(np.asarray(activation.scale, np.float32), site, "activation_scale")
            zero = self._array(np.asarray(activation.zero_point, kind), site, "activation_zero_point")
            rounded = self.rewriter.emit("QuantizeLinear", [x, scale, zero])
            self._quantized[key] = (self.rewriter.emit("DequantizeLinear", [rounded, scale, zero]),)
        data = self._constant(weight.data, site, "int8")
        scales = self._constant(weight.scales, site, "scales")
        matrix = self.rewriter.emit("DequantizeLinear", [data, scales], {"axis": 1})
        return self._added(self.rewriter.emit("MatMul", [self._quantized[key][0], matrix]), bias)

    def embedding(self, site: Site, weight: QuantizedWeight) -> Value:
        """The rows of a table in blocks, by index.

        The table has an axis of blocks, as MatMulNBits wants it, so that a table which also predicts tokens is stored
        once: [rows, blocks, block_size], looked up along the first axis, each block with one scale.
        """
        rows, blocks = weight.scales.shape
        data = self._constant(weight.data, site, f"int{weight.bits}")
        shape = self.rewriter.ints([rows, blocks, 1])
        if site.shared_with:
            scales = self.rewriter.emit("Reshape", [self._constant(weight.scales, site, "scales"), shape])
        else:
            scales = self._constant(reshaped(weight.scales, (rows, blocks, 1)), site, "scales")
        inputs = [data, site.activation, scales]
        if weight.zero_points is not None:
            inputs.append(self._constant(_one_a_block(weight), site, "block_zero_points"))
        attributes = {"bits": weight.bits, "block_size": weight.block_size, "gather_axis": 0, "quantize_axis": 2}
        found = self.rewriter.emit(GATHER, inputs, attributes)  # [..., blocks, block_size]
        return self._without_blocks(site, found, blocks * weight.block_size)

    def _without_blocks(self, site: Site, found: Value, padded: int) -> Value:
        """[..., blocks, block_size] as [..., K]."""
        emit, ints = self.rewriter.emit, self.rewriter.ints
        leading = [size_vector(self.rewriter, found, axis) for axis in range(site.activation.rank)]
        shape = emit("Concat", [*leading, ints([padded])], {"axis": 0}) if leading else ints([padded])
        flat = emit("Reshape", [found, shape])
        if padded == site.num_features:
            return flat
        return emit("Slice", [flat, ints([0]), ints([site.num_features]), ints([-1])])

    def _dequantized_blocks(self, site: Site, weight: QuantizedWeight) -> Value:
        """The matrix [K, N] by a DequantizeLinear with a scale a block; signed integers where it is symmetric."""
        features, columns = weight.shape
        signed = weight.zero_points is None
        kind = DType(f"{'' if signed else 'u'}int{weight.bits}")
        key = ("integers of", weight.bits, weight.block_size, signed)
        data = Derived(_Integers(weight, signed), [weight.data], key, kind, (features, columns))
        scales = Derived(
            np.transpose, [weight.scales], ("transposed", (1, 0)), DType.FLOAT32, weight.scales.shape[::-1]
        )
        inputs = [self._constant(data, site, str(kind)), self._constant(scales, site, "scales")]
        if weight.zero_points is not None:
            zeros = _one_a_block(weight)

            def turned(array: Array) -> Array:
                matrix: Array = array[..., 0].T
                return matrix.astype(kind.numpy())

            handle = Derived(turned, [zeros], ("zero points of", kind), kind, weight.scales.shape[::-1])
            inputs.append(self._constant(handle, site, "zero_points"))
        return self.rewriter.emit("DequantizeLinear", inputs, {"axis": 0, "block_size": weight.block_size})

    def _added(self, product: Value, bias: Value | None) -> Value:
        return product if bias is None else self.rewriter.emit("Add", [product, bias])

    def _constant(self, constant: Constant, site: Site, what: str) -> Value:
        key = constant_key(constant)
        if key not in self._constants:
            name = site.name.partition(":")[0]
            self._constants[key] = self.rewriter.graph.add_constant(constant, f"{name}.{what}")
        return self._constants[key]

    def _array(self, array: Array, site: Site, what: str) -> Value:
        return self._constant(ArrayConstant(array), site, what)


@dataclass(frozen=True)
class _Integers:
    """The unpacked integers [K, N] of a weight in blocks, less 2^(bits - 1) where they are to be signed."""

    weight: QuantizedWeight
    signed: bool

    def __call__(self, data: Array) -> Array:
        features, columns = self.weight.shape
        bits = self.weight.bits
        numbers = unpack(data, bits, self.weight.block_size).reshape(columns, -1)[:, :features].T
        if self.signed:
            shifted: Array = numbers.astype(np.int16) - np.int16(2 ** (bits - 1))
            return shifted.astype(DType(f"int{bits}").numpy())
        return np.ascontiguousarray(numbers).astype(DType(f"uint{bits}").numpy())


def _one_a_block(weight: QuantizedWeight) -> Constant:
    """The zero points of a weight in blocks, a byte each: uint8 [N, blocks, 1]."""
    rows, blocks = weight.scales.shape
    bits = weight.bits
    if weight.zero_points is None:
        return ArrayConstant(np.full((rows, blocks, 1), 2 ** (bits - 1), np.uint8))
    return folded(
        lambda packed: unpack(packed, bits, blocks)[..., None],
        [weight.zero_points],
        ("unpacked", bits),
        DType.UINT8,
        (rows, blocks, 1),
    )
