"""Types of results from types of operands, by the rules of the operator table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfgraph.errors import DTypeError
from tfgraph.ir.constant import ArrayConstant, Constant
from tfgraph.ir.dims import Dim
from tfgraph.ir.optable import Operands, OpSpec, all_attributes
from tfgraph.ir.types import CONTENT_DTYPES, LARGEST_CONTENT, ContainerType, TensorType


def infer_types(
    spec: OpSpec,
    operands: Sequence[TensorType | None],
    attributes: Mapping[str, Any],
    num_outputs: int = 1,
    site: str = "",
) -> Sequence[TensorType]:
    """The types of the results of applying `spec`.

    `site` is the name of the first result, from which dimensions that only running the model can tell take their names.

    Raises:
        ShapeError: shapes that do not fit together.
        DTypeError: dtypes that the operator does not take, a value that is no tensor, or a wrong number of operands or
            results.
    """
    for index, operand in enumerate(operands):
        if isinstance(operand, ContainerType):
            raise DTypeError(f"input {index} of {spec.key} is {operand}, and the operator table is about tensors only")
    types = spec.infer(Operands(spec.key, tuple(operands), all_attributes(spec, attributes), num_outputs, site))
    if num_outputs > len(types):
        raise DTypeError(f"{spec.key} gives {len(types)} results, and {num_outputs} were asked for")
    return types


def constant_content(constant: Constant) -> tuple[Dim, ...] | None:
    """The elements of a small integer or boolean constant in memory, as dimensions; None for every other constant."""
    if (
        not isinstance(constant, ArrayConstant)
        or constant.dtype not in CONTENT_DTYPES
        or len(constant.shape) > 1
        or constant.size > LARGEST_CONTENT
    ):
        return None
    return tuple(int(element) for element in np.atleast_1d(constant.array).tolist())
