"""Weights on disk: how they are found, read lazily, and paired with a model's parameters.

`opening` opens a checkpoint of any layout: `folder` reads a Hugging Face folder, `safetensors` and `torch` one file of
it, and `megatron` what Megatron-LM saves; `gguf` reads a GGUF file. `assign` decides which tensor becomes which
parameter, and `names` holds what it knows about the way names differ between a checkpoint and a model. What a model
family expects (its names, its configuration) is not here but in `tfgraph.models`.
"""

from tfgraph.checkpoints.assign import MatchedWeights, match_weights
from tfgraph.checkpoints.folder import read_config, read_weights
from tfgraph.checkpoints.names import detect_prefix
from tfgraph.checkpoints.safetensors import read_safetensors

__all__ = ["MatchedWeights", "detect_prefix", "match_weights", "read_config", "read_safetensors", "read_weights"]
