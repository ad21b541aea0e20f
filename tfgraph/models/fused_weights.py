"""Checkpoints that keep several matrices in one, or turned: taking them apart, by name, without reading an element.

A family that has such checkpoints says so in `Family.adapt`, with the functions here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import Constant
from tfgraph.ir.transforms import reshaped, sliced, transposed

Weights = Mapping[str, Constant]


def transpose_matrices(weights: Weights, *modules: str) -> dict[str, Constant]:
    """The weights, with `weight` of each module whose path ends with one of `modules` turned to [out, in].

    GPT and GPT-2 keep them as [in, out].
    """
    endings = tuple(f".{module}.weight" for module in modules)
    return {
        name: transposed(constant, (1, 0)) if f".{name}".endswith(endings) and len(constant.shape) == 2 else constant
        for name, constant in weights.items()
    }


def split_rows(weights: Weights, module: str, parts: Mapping[str, int]) -> dict[str, Constant]:
    """The weights, with weight and bias of each `module` cut into parts along the output features, one after another.

    Args:
        module: how the path of the module ends, such as `attn.c_attn`.
        parts: the parts' names, put after the module's (`attn.c_attn.query.weight`), with their output features.

    Raises:
        CheckpointError: a tensor has another number of rows.
    """
    result: dict[str, Constant] = {}
    for name, constant in weights.items():
        path, kind = _of_module(name, module)
        if path is None:
            result[name] = constant
            continue
        _require_rows(name, constant, sum(parts.values()))
        start = 0
        for part, size in parts.items():
            result[f"{path}.{part}.{kind}"] = sliced(constant, 0, start, start + size)
            start += size
    return result


def split_groups(
    weights: Weights, module: str, groups: int, parts: Mapping[str, int], head_dim: int
) -> dict[str, Constant]:
    """The weights, with weight and bias of each `module` cut where heads of query, key and value take turns.

    Args:
        module: how the path of the module ends, such as `attention.query_key_value`.
        groups: how often they take turns: the number of key heads.
        parts: the parts' names, with their heads in each group: `{"query": 1, "key": 1, "value": 1}` for BLOOM and
            GPT-NeoX.
        head_dim: features of a head.

    Raises:
        CheckpointError: a tensor has another number of rows.
    """
    in_group = sum(parts.values())
    result: dict[str, Constant] = {}
    for name, constant in weights.items():
        path, kind = _of_module(name, module)
        if path is None:
            result[name] = constant
            continue
        _require_rows(name, constant, groups * in_group * head_dim)
        rest = constant.shape[1:]
        grouped = reshaped(constant, (groups, in_group * head_dim, *rest))
        start = 0
        for part, heads in parts.items():
            taken = sliced(grouped, 1, start * head_dim, (start + heads) * head_dim)
            result[f"{path}.{part}.{kind}"] = reshaped(taken, (groups * heads * head_dim, *rest))
            start += heads
    return result


def split_experts(weights: Weights, tensor: str, num_experts: int, parts: Mapping[str, int]) -> dict[str, Constant]:
    """The weights, with each tensor that stacks the matrices of all experts cut into one for each expert and part.

    Args:
        tensor: how the tensor's name ends, such as `mlp.experts.gate_up_proj`; its shape is [experts, rows, in].
        parts: what is put in the place of that ending, `{}` in it being the number of the expert, and `.weight` after
            it; with its rows.

    Raises:
        CheckpointError: a tensor is of another number of experts or rows.
    """
    result: dict[str, Constant] = {}
    for name, constant in weights.items():
        if not f".{name}".endswith(f".{tensor}"):
            result[name] = constant
            continue
        rows = sum(parts.values())
        if len(constant.shape) != 3 or constant.shape[:2] != (num_experts, rows):
            raise CheckpointError(
                f"tensor '{name}' has the shape {list(constant.shape)}, and by the configuration there are "
                f"{num_experts} experts with {rows} rows: the weights and the configuration are of different models"
            )
        for expert in range(num_experts):
            matrix = reshaped(sliced(constant, 0, expert, expert + 1), constant.shape[1:])
            start = 0
            for part, size in parts.items():
                path = name.removesuffix(tensor) + part.format(expert)
                result[f"{path}.weight"] = sliced(matrix, 0, start, start + size)
                start += size
    return result


def query_key_value(sizes: Sequence[int]) -> dict[str, int]:
    """The usual three parts, with their sizes."""
    return dict(zip(("query", "key", "value"), sizes, strict=True))


_PARAMETER = re.compile(r"(?P<path>.+)\.(?P<kind>weight|bias)")


def _of_module(name: str, module: str) -> tuple[str | None, str]:
    """Path and kind of the parameter `name`, if it belongs to a module whose path ends with `module`."""
    match = _PARAMETER.fullmatch(name)
    if match is None or not f".{match['path']}".endswith(f".{module}"):
        return None, ""
    return match["path"], match["kind"]


def _require_rows(name: str, constant: Constant, expected: int) -> None:
    if constant.shape[:1] != (expected,):
        raise CheckpointError(
            f"tensor '{name}' has the shape {list(constant.shape)}, and by the configuration query, key and value "
            f"together have {expected} rows: the weights and the configuration are of different models"
        )
