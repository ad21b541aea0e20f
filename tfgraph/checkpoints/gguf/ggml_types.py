"""The element types of GGUF tensors: their codes, and how many bytes a block of elements takes.

The codes and block layouts are those of ggml (`enum ggml_type` in ggml.h). A quantised type stores its elements in
blocks that lie along the last axis, so every row of a tensor is a whole number of blocks. How blocks become numbers is
in `tfgraph.checkpoints.gguf.tensors`.
"""

from __future__ import annotations

from typing import NamedTuple

from tfgraph.ir.dtypes import DType


class GgmlType(NamedTuple):
    """A type: its name, the elements of a block, and the bytes that the block takes.

    `dtype` is the same type as the IR has it; None for a quantised type, whose elements are read as float32.
    """

    name: str
    block_size: int
    block_bytes: int
    dtype: DType | None = None

    def nbytes(self, num_elements: int) -> int:
        """Bytes of `num_elements` elements, a multiple of the block size."""
        return num_elements // self.block_size * self.block_bytes


GGML_TYPES: dict[int, GgmlType] = {
    0: GgmlType("F32", 1, 4, DType.FLOAT32),
    1: GgmlType("F16", 1, 2, DType.FLOAT16),
    2: GgmlType("Q4_0", 32, 18),
    3: GgmlType("Q4_1", 32, 20),
    6: GgmlType("Q5_0", 32, 22),
    7: GgmlType("Q5_1", 32, 24),
    8: GgmlType("Q8_0", 32, 34),
    10: GgmlType("Q2_K", 256, 84),
    11: GgmlType("Q3_K", 256, 110),
    12: GgmlType("Q4_K", 256, 144),
    13: GgmlType("Q5_K", 256, 176),
    14: GgmlType("Q6_K", 256, 210),
    16: GgmlType("IQ2_XXS", 256, 66),
    17: GgmlType("IQ2_XS", 256, 74),
    18: GgmlType("IQ3_XXS", 256, 98),
    19: GgmlType("IQ1_S", 256, 50),
    20: GgmlType("IQ4_NL", 32, 18),
    21: GgmlType("IQ3_S", 256, 110),
    22: GgmlType("IQ2_S", 256, 82),
    23: GgmlType("IQ4_XS", 256, 136),
    24: GgmlType("I8", 1, 1, DType.INT8),
    25: GgmlType("I16", 1, 2, DType.INT16),
    26: GgmlType("I32", 1, 4, DType.INT32),
    27: GgmlType("I64", 1, 8, DType.INT64),
    28: GgmlType("F64", 1, 8, DType.FLOAT64),
    29: GgmlType("IQ1_M", 256, 56),
    30: GgmlType("BF16", 1, 2, DType.BFLOAT16),
    34: GgmlType("TQ1_0", 256, 54),
    35: GgmlType("TQ2_0", 256, 66),
    39: GgmlType("MXFP4", 32, 17),
}
"""Code -> type: what a file may hold. Types that only exist while a model runs (Q8_1, Q8_K) are not among them."""

RETIRED_TYPES = {
    4: "Q4_2",
    5: "Q4_3",
    31: "Q4_0_4_4",
    32: "Q4_0_4_8",
    33: "Q4_0_8_8",
    36: "IQ4_NL_4_4",
    37: "IQ4_NL_4_8",
    38: "IQ4_NL_8_8",
}
"""Code -> name of types that ggml once had and removed."""
