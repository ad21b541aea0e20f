"""The fused matrix of query, key and value, whose rows are in another order in each version of a checkpoint.

Source: `megatron.checkpointing.fix_query_key_value_ordering`, which brings all versions to that of 2.0.
"""

from __future__ import annotations

from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import Constant
from tfgraph.ir.transforms import reshaped, sliced

PARTS = ("query", "key", "value")


def split_query_key_value(
    fused: Constant, version: float, num_heads: int, head_dim: int, name: str
) -> dict[str, Constant]:
    """Query, key and value, each [heads * head_dim, ...], of a weight [3 * heads * head_dim, hidden] or its bias.

    The rows of the fused one are, slowest first:

        below 1.0       part, head, feature
        1.0             head, feature, part
        2.0 and above   head, part, feature

    Args:
        version: of the checkpoint.
        num_heads: heads in this shard.
        name: what the tensor is called in an error.

    Raises:
        CheckpointError: another number of rows.
    """
    rows = num_heads * head_dim
    rest = fused.shape[1:]
    if not fused.shape or fused.shape[0] != 3 * rows:
        raise CheckpointError(
            f"tensor {name!r} has the shape {list(fused.shape)}; expected {3 * rows} rows, for query, key and value of "
            f"{num_heads} heads with {head_dim} features: is num_attention_heads right?"
        )
    if version < 1:
        return {part: sliced(fused, 0, place * rows, (place + 1) * rows) for place, part in enumerate(PARTS)}
    if version < 2:
        shape, axis = (num_heads, head_dim, 3, *rest), 2
    else:
        shape, axis = (num_heads, 3, head_dim, *rest), 1
    grouped = reshaped(fused, shape)
    return {part: reshaped(sliced(grouped, axis, place, place + 1), (rows, *rest)) for place, part in enumerate(PARTS)}
