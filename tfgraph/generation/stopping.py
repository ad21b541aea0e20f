"""When an answer ends: at an end token, at a stop string, or for want of room; asked after each token of a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfgraph.errors import InputError
from tfgraph.generation.decoder import Ids
from tfgraph.generation.prompts import PromptBatch
from tfgraph.generation.results import FinishReason
from tfgraph.generation.settings import GenerationSettings
from tfgraph.generation.text_stream import Decode, TextStream


@dataclass(frozen=True)
class Stopping:
    """What ends an answer, and the text of its tokens, which stop strings are looked for in."""

    settings: GenerationSettings
    decode: Decode | None

    def __post_init__(self) -> None:
        if self.settings.stops and self.decode is None:
            raise InputError(
                f"stop_strings={list(self.settings.stops)} need the text of the tokens: give `decode`, such as a "
                "tokenizer's, or leave stop_strings out"
            )

    def make_stream(self, batch: PromptBatch, prompt: int) -> TextStream | None:
        """The stream that turns the answer to a prompt into text; None if the caller gave no `decode`."""
        if self.decode is None:
            return None
        tokens = batch.input_ids[prompt, batch.input_ids.shape[1] - batch.lengths[prompt] :].tolist()
        keep = self.settings.include_stop_string
        return TextStream(self.decode, self.settings.stops, include_stop_string=keep, context=tokens)

    def text(self, batch: PromptBatch, prompt: int, token_ids: Sequence[int]) -> str | None:
        """The text of a whole answer; None if the caller gave no `decode`."""
        stream = self.make_stream(batch, prompt)
        if stream is None:
            return None
        for token_id in token_ids:
            self.push(stream, token_id)
        stream.finish()
        return stream.text

    def push(self, stream: TextStream | None, token_id: int) -> str:
        """The text that a token makes certain; the end tokens are no text."""
        if stream is None or token_id in self.settings.eos_token_ids:
            return ""
        return stream.push(token_id)

    def reason(self, stream: TextStream | None, token_id: int, num_generated: int, limit: int) -> FinishReason | None:
        """Why an answer ends with this token, its number `num_generated` of at most `limit`; None if it goes on."""
        if token_id in self.settings.eos_token_ids:
            return "eos"
        if stream is not None and stream.stopped_by is not None:
            return "stop"
        return "length" if num_generated >= limit else None


def room(batch: PromptBatch, settings: GenerationSettings, context_length: int | None) -> Ids:
    """How many tokens may be generated for each prompt, int64 [B]: `max_new_tokens`, or what the context leaves."""
    most = np.full(batch.lengths.shape, settings.max_new_tokens, dtype=np.int64)
    return most if context_length is None else np.minimum(most, context_length - batch.lengths)
