"""GGUF files: the one file in which llama.cpp keeps a model, read as a Hugging Face checkpoint.

A GGUF file holds everything: configuration, weights and tokenizer, in llama.cpp's own names and layouts.
`open_gguf_checkpoint` gives the three as the Hugging Face folder would have had them; `read_gguf` gives what is in the
file as it stands there. Nothing but the header is read until a weight is asked for. What each part means is in the
modules beside this one.
"""

from tfgraph.checkpoints.gguf.checkpoint import GgufCheckpoint, open_gguf_checkpoint
from tfgraph.checkpoints.gguf.file import GgufFile, read_gguf

__all__ = ["GgufCheckpoint", "GgufFile", "open_gguf_checkpoint", "read_gguf"]
