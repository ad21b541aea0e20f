"""Running an exported model: arrays in and out, texts to vectors, texts to answers.

What the answers of each task are is in `predictions.py`; what made the folder is `exporter.py`. Session and tokenizer
are loaded when they are first needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfgraph.checkpoints.tokenizer_files import TOKENIZER_FILE, VOCABULARY_FILE
from tfgraph.errors import ConfigError, InputError
from tfgraph.ir.constant import Array
from tfgraph.manifest import MANIFEST_FILE, Manifest, read_manifest
from tfgraph.models.family import SENTENCE_EMBEDDING, TEXT_GENERATION
from tfgraph.staging import recover

if TYPE_CHECKING:
    from tfgraph.backends.onnxruntime.session import Session
    from tfgraph.backends.openvino.session import Session as OpenVinoSession
    from tfgraph.tokenizer import Tokenizer

EMBEDDING_OUTPUT = "sentence_embedding"

MAX_TOKENS = 1024
"""Tokens that are run together by default."""

WINDOW = 8192
"""Texts that are tokenised and sorted by length together, so that memory does not grow with their number."""


class Artefact:
    """An exported model. Made by `tfgraph.open`.

    Attributes:
        folder: where it is.
        manifest: what it says about itself.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        *,
        provider: str = "cpu",
        num_threads: int | None = None,
        cache: Path | None = None,
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self._provider = provider
        self._num_threads = num_threads
        self._cache = cache

    @property
    def task(self) -> str | None:
        """What the model does, one of `tfgraph.models.family.TASKS`; None if it did not come from a checkpoint."""
        return self.manifest.task

    @property
    def session(self) -> Session | OpenVinoSession:
        """The model, loaded in the runtime of its target.

        Raises:
            InputError: it runs as several graphs.
            OnnxError: the file is damaged.
            TargetError: the execution provider does not work here, or lacks a kernel that the model needs.
        """
        parts = list(self.manifest.parts)
        if len(parts) > 1:
            raise InputError(
                f"the model in {self.folder} is {len(parts)} graphs, {' and '.join(parts)}: say which one, as in "
                f"sessions[{parts[0]!r}], or run(…, part={parts[0]!r})"
            )
        return self.sessions[parts[0]]

    @cached_property
    def sessions(self) -> Mapping[str, Session | OpenVinoSession]:
        """The graphs that the model runs as, by name, loaded in the runtime of their target.

        Raises:
            OnnxError: a file is damaged.
            TargetError: the execution provider does not work here, or lacks a kernel that the model needs.
        """
        from tfgraph.sessions import open_session

        return {
            name: open_session(
                self.folder / part.file,
                target=self.manifest.target,
                precision=self.manifest.precision,
                provider=self._provider,
                num_threads=self._num_threads,
                cache=self._cache,
            )
            for name, part in self.manifest.parts.items()
        }

    @property
    def has_tokenizer(self) -> bool:
        """Whether a tokenizer came with the checkpoint."""
        return any((self.folder / name).is_file() for name in (TOKENIZER_FILE, VOCABULARY_FILE))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that came with the checkpoint.

        Raises:
            InputError: the export has none.
            CheckpointError: one of its files is damaged.
        """
        from tfgraph.tokenizer import Tokenizer

        if not self.has_tokenizer:
            raise InputError(
                f"{self.folder} has no tokenizer: give `run` the model's inputs as arrays instead of texts"
            )
        return Tokenizer.load(self.folder)

    def run(
        self, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None, *, part: str | None = None
    ) -> dict[str, Array]:
        """The outputs, by name, for `inputs`, arrays by name. `outputs` names those to compute; all by default.

        Of a model that runs as several graphs, `part` says which: `encoder`, `decoder`.

        Raises:
            InputError: a name is wrong, or an input has a wrong dtype or shape.
        """
        if part is None:
            return self.session.run(inputs, outputs)
        if part not in self.manifest.parts:
            parts = ", ".join(self.manifest.parts)
            raise InputError(f"the model in {self.folder} has no part {part!r}: expected one of {parts}")
        return self.sessions[part].run(inputs, outputs)

    def inputs_of(self, texts: Sequence[Any]) -> dict[str, Array]:
        """The model's inputs for texts or pairs of texts, cut to the length that it takes: int64 [B, S] each.

        For multiple choice, [1, B, S]: the texts are the choices of one question.

        Raises:
            InputError: the export has no tokenizer, or the model takes inputs that texts do not give.
        """
        if self.task == TEXT_GENERATION:
            raise InputError(
                f"the model in {self.folder} continues texts: use tfgraph.Generator, or `tfgraph generate`"
            )
        encoded = self.tokenizer.encode(self._prepared(texts), max_length=self.manifest.max_length)
        inputs = self._inputs_among(encoded)
        return {name: array[None] for name, array in inputs.items()} if self.task == "multiple-choice" else inputs

    def _prepared(self, texts: Sequence[Any]) -> Sequence[Any]:
        """The texts as the tokenizer gets them."""
        return [_lowered(text) for text in texts] if self.manifest.model.get("do_lower_case") else texts

    def _inputs_among(self, encoded: Mapping[str, Array]) -> dict[str, Array]:
        """Those of the tokenizer's arrays that the model takes.

        Raises:
            InputError: the model takes another.
        """
        missing = [name for name in self.manifest.inputs if name not in encoded]
        if missing:
            raise InputError(f"the model takes '{missing[0]}', which texts do not give: call `run` with arrays")
        return {name: encoded[name] for name in self.manifest.inputs}

    def _batches(
        self, items: Sequence[Any], batch_size: int | None, max_tokens: int
    ) -> Iterator[tuple[list[int], dict[str, Array]]]:
        """The numbers of texts to run together, and the model's inputs for them.

        Some thousand texts at a time are tokenised and sorted by their number of tokens.
        """
        for start in range(0, len(items), WINDOW):
            window = self._prepared(items[start : start + WINDOW])
            rows = self.tokenizer.encode_ragged(window, max_length=self.manifest.max_length, first=start)
            for indices in rows.batches(max_tokens=max_tokens, max_rows=batch_size):
                yield (indices + start).tolist(), self._inputs_among(rows.padded(indices))

    def encode(
        self,
        texts: Sequence[Any],
        *,
        batch_size: int | None = None,
        max_tokens: int = MAX_TOKENS,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Array:
        """One vector for each text, or pair of texts: float32 [n, hidden], in the order of the texts.

        Texts of about the same number of tokens are run together, so that little is padded. Besides the vectors, the
        memory that it takes does not grow with the number of texts.

        Args:
            texts: the texts, or pairs of texts.
            batch_size: the most texts to run together; by default `max_tokens` alone decides.
            max_tokens: the most tokens to run together, padding included; a longer text is run alone.
            on_progress: called as `on_progress(done, total)` before the first batch and after each.

        Raises:
            InputError: the model gives no sentence embeddings, the texts are not texts, or a limit is below 1.
        """
        if EMBEDDING_OUTPUT not in self.manifest.outputs:
            raise InputError(
                f"the model in {self.folder} gives {', '.join(self.manifest.outputs)} and no {EMBEDDING_OUTPUT}: "
                f'export the checkpoint with task="{SENTENCE_EMBEDDING}"'
            )
        items = _checked(texts)
        shape = self.manifest.outputs[EMBEDDING_OUTPUT].shape or (0,)
        width = shape[-1] if isinstance(shape[-1], int) else 0
        vectors = np.empty((len(items), width), dtype=np.float32)
        done = 0
        for indices, inputs in self._batches(items, batch_size, max_tokens):
            if on_progress and not done:
                on_progress(0, len(items))
            vectors[indices] = self.run(inputs, [EMBEDDING_OUTPUT])[EMBEDDING_OUTPUT]
            done += len(indices)
            if on_progress:
                on_progress(done, len(items))
        return vectors

    def predict(
        self, texts: Sequence[Any], *, batch_size: int | None = None, max_tokens: int = MAX_TOKENS, top: int = 5
    ) -> list[Any]:
        """The model's answer for each text, by its task; texts are run together as `encode` does it.

        Task, what each text is, and what its answer is (see `tfgraph.predictions`):

        - sequence-classification: a text or pair; a `Classification`
        - next-sentence: a pair; a `Classification` into "next" and "random"
        - masked-lm: a text with masks, such as `[MASK]`; a tuple of `MaskedToken`, with the `top` likeliest tokens each
        - token-classification: a text; a tuple of `TokenLabel`
        - question-answering: a pair of question and text; an `Answer`
        - multiple-choice: a list of texts or pairs to choose from; a `Choice`

        Raises:
            InputError: the model has another task, or the texts are not what it takes.
        """
        from tfgraph.predictions import PREDICTIONS, Batch, choose_text

        if self.task == "multiple-choice":
            return [choose_text(self.run(self.inputs_of(_checked(choices)))) for choices in _as_list(texts)]
        items = _checked(texts)
        answer_all = PREDICTIONS.get(self.task or "")
        if answer_all is None:
            raise InputError(self._why_no_answers())
        answers: list[Any] = [None] * len(items)
        for indices, inputs in self._batches(items, batch_size, max_tokens):
            chosen = [items[index] for index in indices]
            batch = Batch(chosen, inputs, self.run(inputs), self.manifest, self.tokenizer, top)
            for index, answer in zip(indices, answer_all(batch), strict=True):
                answers[index] = answer
        return answers

    def _why_no_answers(self) -> str:
        if EMBEDDING_OUTPUT in self.manifest.outputs:
            return f"the model in {self.folder} gives vectors, not answers: call `encode`"
        outputs = ", ".join(self.manifest.outputs)
        if self.task is None:
            return f"the model in {self.folder} did not come from a checkpoint with a task: `run` gives its {outputs}"
        return f"a model for {self.task} answers nothing by itself: `run` gives its {outputs}"


def open(
    folder: str | Path,
    *,
    provider: str = "cpu",
    num_threads: int | None = None,
    cache: str | Path | None = None,
) -> Artefact:
    """Open the folder that `tfgraph.export` wrote.

    Args:
        folder: the folder.
        provider: the execution provider of ONNX Runtime, in full or in short ("cuda").
        num_threads: threads inside an operator; None for one a physical core that the process may use.
        cache: a folder where the runtime keeps the model as it has prepared it for this processor, so that the next
            start takes no time to optimise and lay out weights, and processes share them in memory. It may be deleted
            at any time.

    Raises:
        ConfigError: it is no such folder, its manifest is damaged, or a file of the model is missing or incomplete.
    """
    folder = Path(folder)
    if not os.path.isfile(folder / MANIFEST_FILE):
        recover(folder, MANIFEST_FILE)
    manifest = read_manifest(folder)
    for name, size in manifest.files.items():
        if name.endswith((".onnx", ".data")):
            _check_size(folder / name, size)
    kept = None if cache is None else Path(cache)
    return Artefact(folder, manifest, provider=provider, num_threads=num_threads, cache=kept)


def _check_size(path: Path, size: int) -> None:
    found = path.stat().st_size if os.path.isfile(path) else None
    if found != size:
        state = "is missing" if found is None else f"has {found} bytes where {MANIFEST_FILE} says {size}"
        raise ConfigError(f"{path} {state}: the export is damaged. Copy it again, or export the model again")


def _as_list(texts: Any) -> list[Any]:
    if isinstance(texts, str | bytes) or not isinstance(texts, Sequence):
        raise InputError(f"expected a list of texts, found {type(texts).__name__}; for one text, give [text]")
    return list(texts)


def _checked(texts: Any) -> list[Any]:
    """Texts, or pairs of texts, as a list.

    Raises:
        InputError: one is neither, or texts are mixed with pairs.
    """
    items = _as_list(texts)
    for index, item in enumerate(items):
        if not isinstance(item, str) and not _is_pair(item):
            raise InputError(f"texts[{index}] is {item!r}: expected a text, or a pair of texts")
        if isinstance(item, str) != isinstance(items[0], str):
            raise InputError(f"texts[0] and texts[{index}]: one is a text, one a pair. Give only texts, or only pairs")
    return items


def _is_pair(item: object) -> bool:
    return isinstance(item, tuple | list) and len(item) == 2 and all(isinstance(part, str) for part in item)


def _lowered(text: str | Sequence[str]) -> str | tuple[str, ...]:
    return text.lower() if isinstance(text, str) else tuple(part.lower() for part in text)
