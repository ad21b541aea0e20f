"""Generation: from a model that predicts the next token to whole answers, in numpy on logits.

`generate` and `stream` take a `Decoder`, which is any model with a cache, prompts of token ids, and
`GenerationSettings`. Nothing here knows graphs, ONNX Runtime, checkpoints or tokenizers.
"""

from tfgraph.generation.config_file import settings_from_config
from tfgraph.generation.decoder import Decoder
from tfgraph.generation.engine import generate, stream
from tfgraph.generation.results import FinishReason, GeneratedToken, Generation, TokenLogprobs
from tfgraph.generation.settings import GenerationSettings
from tfgraph.generation.text_stream import Decode, TextStream

__all__ = [
    "Decode",
    "Decoder",
    "FinishReason",
    "GeneratedToken",
    "Generation",
    "GenerationSettings",
    "TextStream",
    "TokenLogprobs",
    "generate",
    "settings_from_config",
    "stream",
]
