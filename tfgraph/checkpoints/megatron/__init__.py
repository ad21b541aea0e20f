"""Checkpoints as Megatron-LM's training saves them: GPT-2 and BERT, whole or in shards, read without Megatron.

`files` finds the shards and reads what is in them, `layouts` takes apart the fused query, key and value, whose order
depends on the version of the checkpoint, `merge` puts the shards together, `names` says what the tensors are called,
and `settings` makes of Megatron's arguments what a `config.json` would say.
"""

from tfgraph.checkpoints.megatron.checkpoint import MegatronCheckpoint, open_megatron_checkpoint
from tfgraph.checkpoints.megatron.files import is_megatron

__all__ = ["MegatronCheckpoint", "is_megatron", "open_megatron_checkpoint"]
