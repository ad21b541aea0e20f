"""The shards of a checkpoint as one: what tensor parallelism cut is put together, pipeline stages follow one another.

Source: Shoeybi et al., "Megatron-LM: Training Multi-Billion Parameter Language Models Using Model Parallelism", 2019,
section 3: matrices before an activation, and those of query, key and value, are cut along their output features, those
after it along their input features, and the table of words along the vocabulary. Everything else each rank has whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfgraph.checkpoints.megatron.files import Shard
from tfgraph.checkpoints.megatron.layouts import split_query_key_value
from tfgraph.checkpoints.megatron.names import QUERY_KEY_VALUE, count_layers, newer_name
from tfgraph.errors import CheckpointError, DTypeError, ShapeError
from tfgraph.ir.constant import Constant
from tfgraph.ir.transforms import concatenated

_CUT = {
    "word_embeddings.weight": 0,
    "output_layer.weight": 0,
    "self_attention.query.weight": 0,
    "self_attention.query.bias": 0,
    "self_attention.key.weight": 0,
    "self_attention.key.bias": 0,
    "self_attention.value.weight": 0,
    "self_attention.value.bias": 0,
    "self_attention.dense.weight": 1,
    "mlp.dense_h_to_4h.weight": 0,
    "mlp.dense_h_to_4h.bias": 0,
    "mlp.dense_4h_to_h.weight": 1,
}
"""How a name ends, and the axis along which the tensor is cut."""

_CUT_WHOLE_NAMES = {"lm_head.bias": 0}  # one for each token of the vocabulary

_OF_NO_USE = ("word_embeddings_for_head.weight", "attention.bias", "attention.masked_bias")


def merged(stages: Sequence[Sequence[Shard]], num_heads: int, head_dim: int) -> dict[str, Constant]:
    """The tensors of a whole checkpoint, by their newer names, with query, key and value apart. No element is read.

    Args:
        stages: for each pipeline stage, the shards of its tensor ranks.
        num_heads, head_dim: of the whole model.

    Raises:
        CheckpointError: shards that do not fit together, or not with the number of heads.
    """
    ranks = len(stages[0])
    if num_heads % ranks:
        raise CheckpointError(
            f"{stages[0][0].path} is one of {ranks} shards, which {num_heads} heads cannot be split among: is "
            "num_attention_heads right?"
        )
    weights: dict[str, Constant] = {}
    first_layer = 0
    for shards in stages:
        parts = [_taken_apart(shard, num_heads // ranks, head_dim, first_layer) for shard in shards]
        joined = _joined(parts, shards)
        for name, constant in joined.items():
            if name in weights:
                raise CheckpointError(f"tensor {name!r} of {shards[0].path} is in an earlier pipeline stage too")
            weights[name] = constant
        first_layer = count_layers(weights)
    return weights


def _taken_apart(shard: Shard, num_heads: int, head_dim: int, first_layer: int) -> dict[str, Constant]:
    """The tensors of a shard under their newer names, with query, key and value apart."""
    found: dict[str, Constant] = {}
    for given, constant in shard.tensors.items():
        if given.endswith(_OF_NO_USE):
            continue
        name = newer_name(given, first_layer)
        path, _, kind = name.rpartition(".")
        if path.endswith(QUERY_KEY_VALUE):
            parts = split_query_key_value(constant, shard.version, num_heads, head_dim, given)
            stem = path.removesuffix("query_key_value")
            found.update({f"{stem}{part}.{kind}": each for part, each in parts.items()})
        else:
            found[name] = constant
    return found


def _joined(parts: Sequence[Mapping[str, Constant]], shards: Sequence[Shard]) -> dict[str, Constant]:
    """The tensors of all tensor ranks of a stage as one."""
    for part, shard in zip(parts, shards, strict=True):
        differing = sorted(part.keys() ^ parts[0].keys())
        if differing:
            raise CheckpointError(
                f"{shard.path} and {shards[0].path} are not of one checkpoint: only one of them holds {differing[0]!r}"
            )
    return {name: _join(name, [part[name] for part in parts], shards[0]) for name in parts[0]}


def _join(name: str, pieces: Sequence[Constant], shard: Shard) -> Constant:
    axis = _axis(name)
    try:
        if axis is not None:
            return concatenated(pieces, axis)
    except (ShapeError, DTypeError) as error:
        raise CheckpointError(f"the pieces of {name!r} beside {shard.path} do not fit together: {error}") from None
    shapes = list(dict.fromkeys(piece.shape for piece in pieces))
    if len(shapes) > 1:
        raise CheckpointError(
            f"tensor {name!r}, which every shard beside {shard.path} should have whole, has there the shapes "
            f"{', '.join(str(list(shape)) for shape in shapes)}"
        )
    return pieces[0]


def _axis(name: str) -> int | None:
    if name in _CUT_WHOLE_NAMES:
        return _CUT_WHOLE_NAMES[name]
    return _CUT.get(".".join(name.split(".")[-3:]), _CUT.get(".".join(name.split(".")[-2:])))
