"""`Generator`: texts continued or answered by an exported model, with its tokenizer, its settings and its cache.

How tokens are chosen is in `tfgraph.generation`; what runs the model, in `cached_decoders.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tfgraph.artefact import Artefact
from tfgraph.artefact import open as open_artefact
from tfgraph.cached_decoders import LOGITS, CrossDecoder, FixedDecoder, GrowingDecoder
from tfgraph.checkpoints.folder import CONFIG_FILE, GENERATION_FILE
from tfgraph.checkpoints.json_file import read_json_object
from tfgraph.dsl.layers.choices import choose
from tfgraph.errors import ConfigError, InputError
from tfgraph.generation import Decoder, GeneratedToken, Generation, GenerationSettings, generate, stream
from tfgraph.generation.config_file import settings_from_config
from tfgraph.generation.prompts import make_batch
from tfgraph.models.family import TEXT_GENERATION
from tfgraph.turns import Turn, Turns

if TYPE_CHECKING:
    from tfgraph.backends.interface import RunsArrays
    from tfgraph.backends.onnxruntime.session import Session

Prompts: TypeAlias = "str | Sequence[str] | Sequence[Sequence[int]]"


class Generator:
    """Continues texts with an exported decoder, or answers them with an encoder-decoder.

    A `Generator` keeps the model's cache between calls: a single prompt that begins with the last one and its answer,
    as the next turn of a conversation does, computes only what is new. So it does one thing at a time: a stream ends
    where a later call begins. Several made of the same opened model share its weights.

    Args:
        model: an export for text generation, opened or as its folder.
        settings: how tokens are chosen; what the checkpoint's `generation_config.json` says if not given.

    Attributes:
        model: the export.
        settings: what is chosen by where a call changes nothing.
        not_followed: what the checkpoint asks for besides, and generation here does not know: name to value.

    Raises:
        ConfigError: the folder is no export, or its generation settings are damaged.
        InputError: the export is not for text generation.
    """

    def __init__(self, model: Artefact | str | os.PathLike[str], settings: GenerationSettings | None = None) -> None:
        self.model = model if isinstance(model, Artefact) else open_artefact(Path(model))
        if self.model.task != TEXT_GENERATION:
            raise InputError(
                f"the model in {self.model.folder} is for {self.model.task or 'no task that is known'}: export the "
                f'checkpoint with task="{TEXT_GENERATION}"'
            )
        self._given = settings
        self._model_config = _read_config(self.model.folder, CONFIG_FILE)
        self._config = _read_config(self.model.folder, GENERATION_FILE) or self._model_config
        self.settings, self.not_followed = self._changed({})

    def generate(
        self,
        prompts: Prompts,
        *,
        on_token: Callable[[GeneratedToken], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        **changes: Any,
    ) -> list[Generation]:
        """Answer prompts, in one batch.

        Args:
            prompts: a text, several, or rows of token ids; they may be of different lengths.
            on_token: called with each token as soon as it is chosen; not with beam search.
            cancelled: asked after each step; once it says True, the results are what there is so far.
            changes: settings for this call, by the names of `GenerationSettings`: `max_new_tokens=50`.

        Returns:
            `num_return_sequences` results for each prompt, prompt by prompt.

        Raises:
            InputError: no prompts, an empty one, one that is too long for the model, unknown settings or values that
                make no sense; texts without a tokenizer; the Generator is used by another thread, or by `on_token`.
        """
        settings = self.settings_for(**changes)
        decoder, rows = self._begin(prompts, settings)
        return generate(decoder, rows, settings, decode=self._decode, on_token=on_token, cancelled=cancelled)

    def stream(self, prompt: Prompts, **changes: Any) -> Iterator[GeneratedToken]:
        """The tokens of the answer, each as soon as it is chosen; `token.text` is what it adds to the text.

        To stop early, leave the loop. With several prompts their tokens take turns, see `token.result`.

        Raises:
            InputError: as `generate` does, and for beam search; a later call has begun.
        """
        settings = self.settings_for(**changes)
        decoder, rows = self._begin(prompt, settings)
        return stream(decoder, rows, settings, decode=self._decode)

    def settings_for(self, **changes: Any) -> GenerationSettings:
        """The settings of a call with these changes.

        Raises:
            InputError: unknown settings, or values that make no sense.
        """
        return self._changed(changes)[0]

    def _begin(self, prompts: Prompts, settings: GenerationSettings) -> tuple[Decoder, list[list[int]]]:
        """What writes the answers, and what each begins with: its prompt, or what starts an answer to a text."""
        rows, decoder = self._ids(prompts), self._decoder
        if isinstance(decoder, GrowingDecoder):
            return Turn(self._turns), rows
        batch = make_batch(rows, settings.padding_id, decoder.vocab_size, context_length=None)
        limit, longest = self.model.manifest.max_length, int(batch.lengths.max())
        found = f"prompts[{batch.lengths.argmax()}] has {longest} tokens"
        if isinstance(decoder, FixedDecoder):
            capacity = decoder.context_length
            if capacity is not None and longest >= capacity and (limit is None or capacity < limit):
                raise InputError(
                    f"{found}, and the model's cache holds {capacity}, generated ones included: shorten the prompt to "
                    f"at most {capacity - 1}, or export the checkpoint with a longer cache_length"
                )
            return Turn(self._turns), rows
        if limit is not None and longest > limit:
            raise InputError(f"{found}, and the model reads {limit}: shorten it")
        read = partial(decoder.read, batch.input_ids, batch.attention_mask)
        return Turn(self._turns, read), [[self._start_token]] * len(rows)

    @cached_property
    def _start_token(self) -> int:
        """What an encoder-decoder's answers begin with."""
        for name in ("decoder_start_token_id", "bos_token_id"):
            for source in (self._config, self.model.manifest.model, self._model_config):
                if isinstance(source.get(name), int):
                    return int(source[name])
        raise ConfigError(f"{self.model.folder / CONFIG_FILE} has no decoder_start_token_id, with which answers begin")

    @cached_property
    def _turns(self) -> Turns:
        return Turns(self._decoder)

    @cached_property
    def _decoder(self) -> GrowingDecoder | CrossDecoder | FixedDecoder:
        """The model with its cache."""
        manifest, vocab_size = self.model.manifest, self._vocab_size
        if "encoder" in manifest.parts:
            sessions = self.model.sessions
            cache = _with_cache(sessions["decoder"]).growing_cache()
            return CrossDecoder(sessions["encoder"], cache, vocab_size, manifest.max_length)
        if "cache_lengths" in manifest.inputs:
            return FixedDecoder(_with_cache(self.model.session).fixed_cache(), vocab_size, manifest.max_length)
        return GrowingDecoder(_with_cache(self.model.session).growing_cache(), vocab_size, manifest.max_length)

    @property
    def _vocab_size(self) -> int:
        """How many tokens the model scores."""
        logits = self.model.manifest.outputs.get(LOGITS)
        vocab_size = None if logits is None or not logits.shape else logits.shape[-1]
        if not isinstance(vocab_size, int):
            found = f"no output '{LOGITS}'" if logits is None else f"the output {logits}"
            raise ConfigError(
                f"the model in {self.model.folder} has {found}: expected '{LOGITS}' whose last axis is the size of the "
                "vocabulary; export the checkpoint again"
            )
        return vocab_size

    @property
    def _decode(self) -> Callable[[Sequence[int]], str] | None:
        return self.model.tokenizer.decode if self.model.has_tokenizer else None

    def _changed(self, changes: Mapping[str, Any]) -> tuple[GenerationSettings, Mapping[str, object]]:
        """The settings of a call, and what the checkpoint asks for that they cannot express."""
        known = {field.name: field for field in fields(GenerationSettings)}
        for name in changes:
            try:
                choose("generation setting", name, known)
            except ConfigError as error:
                raise InputError(str(error)) from None
        if self._given is not None:
            return replace(self._given, **changes), {}
        return settings_from_config(self._config, **changes)

    def _ids(self, prompts: Prompts) -> list[list[int]]:
        """The token ids of each prompt."""
        if isinstance(prompts, bytes) or not isinstance(prompts, str | Sequence | np.ndarray):
            raise InputError(
                f"prompts are a text, a list of texts, or a list of rows of token ids, found {type(prompts).__name__}"
            )
        rows: list[Any] = [prompts] if isinstance(prompts, str) else list(prompts)
        texts = [row for row in rows if isinstance(row, str)]
        if not texts:
            return rows
        if not self.model.has_tokenizer:
            raise InputError(f"{self.model.folder} has no tokenizer for texts: give rows of token ids")
        if len(texts) != len(rows):
            raise InputError("prompts are texts and rows of token ids mixed: expected one or the other")
        return [[token.id for token in tokens] for tokens in self.model.tokenizer.tokens(texts)]


def _with_cache(session: RunsArrays) -> Session:
    """A session as one that keeps a cache between runs.

    Raises:
        InputError: what runs the model keeps none.
    """
    from tfgraph.backends.onnxruntime.session import Session

    if not isinstance(session, Session):
        raise InputError(
            f"texts are generated with a cache that {type(session).__module__} does not keep: export the model with a "
            'precision that ONNX Runtime\'s own kernels run, such as precision="int4"'
        )
    return session


def _read_config(folder: Path, name: str) -> dict[str, Any]:
    """The object in a file of the export; empty if there is no such file.

    Raises:
        ConfigError: the file is damaged.
    """
    return read_json_object(folder / name, ConfigError) if (folder / name).is_file() else {}
