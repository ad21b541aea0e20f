"""Loading a checkpoint as a model: `load` picks the family and the task, and fills a module with the weights.

Nothing is computed and no weight is read here: a `Pretrained` holds handles. How the parts are read is in
`tfgraph.checkpoints`, what they mean in `tfgraph.models`; what runs the result is `tfgraph.compile`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tfgraph.checkpoints import match_weights
from tfgraph.checkpoints.opening import Checkpoint, open_checkpoint
from tfgraph.checkpoints.sentence_transformers import SentenceSettings, is_sentence_folder, read_sentence_settings
from tfgraph.checkpoints.tokenizer_files import TOKENIZER_FILE, VOCABULARY_FILE
from tfgraph.dsl.layers.choices import choose
from tfgraph.dsl.module import Module
from tfgraph.errors import ConfigError, InputError, TraceError
from tfgraph.ir.constant import Constant
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph
from tfgraph.models.causal_lm import CAPACITY
from tfgraph.models.family import (
    ENCODER,
    SENTENCE_EMBEDDING,
    TASKS,
    TEXT_GENERATION,
    WHOLE_MODEL,
    Architecture,
    Family,
    ModelConfig,
    Part,
)
from tfgraph.models.names import below, checkpoint_name
from tfgraph.models.pooling import Pooling, SentenceEmbedder
from tfgraph.models.registry import architecture_of, family_of
from tfgraph.models.seq2seq_config import Seq2SeqConfig

if TYPE_CHECKING:
    from tfgraph.ir.constant import Array
    from tfgraph.tokenizer import Pair, Tokenizer

DTYPES = {dtype.value: dtype for dtype in (DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16)}
"""What weights can be loaded as."""
ANY_LENGTH = "any"
"""The `cache_length` of a cache that is written into, and has as many positions as each run gives it."""
GROWING = "growing"
"""The `cache_length` of a cache that is one token longer after each."""


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A model with the weights of a checkpoint, for one task.

    Attributes:
        module: the model; its weights are handles that nobody has read yet.
        config: the family's configuration.
        family: which family it is of.
        task: one of `tfgraph.models.family.TASKS`.
        checkpoint: where it comes from.
        input_specs: what the model is traced with: its inputs, of any batch and length; those of the first part, of a
            model that runs as several graphs.
        sentence: how texts become vectors; None for tasks other than sentence embedding.
        parts: the graphs that the model runs as, each of which can be compiled: `model`, or, where an encoder-decoder
            writes texts, `encoder` and `decoder`. They share their weights.
        cache_length: what `load` was told about the cache; None where `export` chooses.
    """

    module: Module
    config: ModelConfig
    family: Family = field(repr=False)
    task: str
    checkpoint: Checkpoint
    input_specs: dict[str, Any]
    sentence: SentenceSettings | None = None
    parts: Mapping[str, Part] = field(default_factory=dict, repr=False)
    cache_length: int | str | None = None

    def __post_init__(self) -> None:
        names = {architecture.task: architecture.name for architecture in self.family.architectures}
        metadata = {key: _as_text(value) for key, value in self.metadata.items()}
        if self.parts:
            parts = {name: replace(part, metadata={**metadata, "part": name}) for name, part in self.parts.items()}
        else:
            parts = {WHOLE_MODEL: Part(self.module, self.input_specs, names.get(self.task), metadata)}
        object.__setattr__(self, "parts", parts)

    @property
    def path(self) -> Path:
        """The folder of the checkpoint, or the one file that holds all of it."""
        return self.checkpoint.path

    @property
    def settings(self) -> Mapping[str, Any]:
        """The object in the checkpoint's `config.json`, or what that would say."""
        return self.checkpoint.config

    def trace(self) -> Graph:
        """The model as a graph, whose metadata says what it is.

        Raises:
            TraceError: the model runs as several graphs.
        """
        if len(self.parts) > 1:
            first, last = next(iter(self.parts)), list(self.parts)[-1]
            raise TraceError(
                f"{self.family.model_type} for {self.task} is {len(self.parts)} graphs, {' and '.join(self.parts)}: "
                f"compile each, as in tfgraph.compile(model.parts[{last!r}]), or export them together with "
                f"tfgraph.export; {first!r} runs first"
            )
        return next(iter(self.parts.values())).trace()

    @cached_property
    def tokenizer(self) -> Tokenizer | None:
        """The checkpoint's tokenizer; None if it has none.

        Raises:
            CheckpointError: the tokenizer is damaged, or that of a GGUF file is of an unknown kind.
        """
        from tfgraph.tokenizer import Tokenizer

        parts = self.checkpoint.tokenizer()
        return None if parts is None else Tokenizer(parts)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of a classifier's classes, in the order of its logits; empty for other tasks."""
        return self.config.labels if self.task in ("sequence-classification", "token-classification") else ()

    @property
    def max_length(self) -> int | None:
        """What texts are truncated to, in tokens, special ones included: the model's limit, or a lower setting.

        None for a model whose positions have no limit, such as T5.
        """
        setting = None if self.sentence is None else self.sentence.max_seq_length
        limits = [limit for limit in (setting, self.config.max_length) if limit is not None]
        return min(limits, default=None)

    @property
    def metadata(self) -> dict[str, Any]:
        """What a user of the exported model has to know about it, as JSON has it."""
        known: dict[str, Any] = {
            "model_type": self.family.model_type,
            "task": self.task,
        }
        if self.max_length is not None:
            known["max_length"] = self.max_length
        if self.labels:
            known["labels"] = list(self.labels)
        if isinstance(self.config, Seq2SeqConfig) and self.config.decoder_start_token_id is not None:
            known["decoder_start_token_id"] = self.config.decoder_start_token_id
        if self.sentence is not None:
            known["pooling"] = list(self.sentence.pooling_modes)
            known["normalize"] = self.sentence.normalize
            known["do_lower_case"] = self.sentence.do_lower_case
        return known

    def encode(
        self,
        texts: Sequence[str] | Sequence[Pair],
        *,
        max_length: int | None = None,
        padding: Literal["right", "left"] = "right",
    ) -> dict[str, Array]:
        """The model's inputs for texts, or for pairs of them, truncated to `max_length` (the model's own if not given).

        For multiple choice these are the choices of one question.

        Returns:
            int64 arrays by input name: [B, S], and [1, B, S] for multiple choice.

        Raises:
            InputError: the checkpoint has no tokenizer, `max_length` is more than the model takes, or no text is given.
            CheckpointError: the tokenizer is damaged.
        """
        if self.tokenizer is None:
            raise InputError(
                f"{self.path} has no tokenizer, {TOKENIZER_FILE} or {VOCABULARY_FILE}: give the model token ids"
            )
        longest = self.config.max_length
        if longest is not None and isinstance(max_length, int) and max_length > longest:
            raise InputError(f"max_length is {max_length}, and this model takes at most {longest} tokens")
        if self.sentence is not None and self.sentence.do_lower_case:
            texts = _lowered(texts)
        limit = self.max_length if max_length is None else max_length
        encoded = self.tokenizer.encode(texts, max_length=limit, padding=padding)
        one_question = self.task == "multiple-choice"
        from_texts = [name for name in self.input_specs if name in encoded]
        return {name: encoded[name][None] if one_question else encoded[name] for name in from_texts}


def load(
    checkpoint: str | Path, *, task: str | None = None, dtype: str = "float32", cache_length: int | str | None = None
) -> Pretrained:
    """Load a checkpoint. Nothing is downloaded, and no weight is read.

    Args:
        checkpoint: a Hugging Face folder: `config.json`, weights in `*.safetensors` or `*.bin` (or one such file of
            it), and tokenizer files if there are any; a GGUF file, which holds all of that; or a folder that
            Megatron-LM saved into, or its one file.
        task: one of `tfgraph.models.family.TASKS`. If not given: sentence embedding for a folder laid out by
            sentence-transformers, else what `architectures` in `config.json` names, else the base model.
        dtype: `"float32"`, `"float16"` or `"bfloat16"`: what weights of any float type are converted to when they are
            read.
        cache_length: for text generation: a cache of so many positions, which the model writes into in place; `"any"`
            for one that is written into too and has as many positions as each run gives it; `"growing"` for one that is
            longer after each run. If not given, one that grows, unless `export` knows that its target is faster in
            place.

    A base model whose checkpoint has no pooler is loaded without it.

    Raises:
        ConfigError: the configuration is missing or damaged, names an unknown model type or architecture, contradicts
            itself, or does not know the task.
        CheckpointError: the weights are missing or damaged, or do not fit the model.
    """
    root = Path(checkpoint)
    wanted = choose("dtype of weights", dtype, DTYPES)
    if task is not None:
        choose("task", task, TASKS)
    opened = open_checkpoint(root)
    given, source = opened.config, opened.source
    family = family_of(given, source)
    sentence = None
    if task == SENTENCE_EMBEDDING or (task is None and is_sentence_folder(root)):
        task, sentence = SENTENCE_EMBEDDING, read_sentence_settings(root)
        architecture = _embedder(family, sentence)
    elif task is not None:
        architecture = family.architecture_for(task)
    else:
        architecture = architecture_of(given, family, source)
    config = family.config.from_dict(given, source)
    module = _with_weights(architecture, config, family, opened, wanted)
    parts = {} if architecture.parts is None else dict(architecture.parts(module, config, wanted))
    specs = _input_specs(architecture, family, config, wanted, cache_length)
    return Pretrained(
        module=module,
        config=config,
        family=family,
        task=architecture.task,
        checkpoint=opened,
        input_specs=dict(next(iter(parts.values())).inputs) if parts else specs,
        sentence=sentence,
        parts=parts,
        cache_length=cache_length,
    )


def _embedder(family: Family, sentence: SentenceSettings) -> Architecture:
    """The family's base model without its pooler, or the encoder of an encoder-decoder, and a pooling over it."""
    has_decoder = any(architecture.task == ENCODER for architecture in family.architectures)
    base = family.architecture_for(ENCODER if has_decoder else "base")
    build_base = base.build_without or base.build

    def build(config: Any) -> Module:
        return SentenceEmbedder(build_base(config), Pooling(sentence.pooling_modes, sentence.normalize))

    return Architecture("", SENTENCE_EMBEDDING, build, below(base.names, "base", ""))


def _input_specs(
    architecture: Architecture, family: Family, config: ModelConfig, dtype: DType, cache_length: int | str | None
) -> dict[str, Any]:
    """What the model is traced with; a cache has the dtype of the weights."""
    if cache_length is not None and cache_length != GROWING:
        if architecture.fixed_inputs is None:
            raise ConfigError(
                f"cache_length is {cache_length}: {family.model_type} for {architecture.task} has no cache of a fixed "
                f'length; expected no cache_length, or task="{TEXT_GENERATION}" of a decoder'
            )
        longest = config.max_length
        if cache_length == ANY_LENGTH:
            return dict(architecture.fixed_inputs(config, dtype, CAPACITY))
        if type(cache_length) is not int or cache_length < 1 or (longest is not None and cache_length > longest):
            most = "" if longest is None else f" to {longest}, the longest text that the model takes"
            raise ConfigError(
                f"cache_length is {cache_length!r}: expected a whole number from 1{most}, {ANY_LENGTH!r} or {GROWING!r}"
            )
        return dict(architecture.fixed_inputs(config, dtype, cache_length))
    return family.inputs_of(architecture, config, dtype)


def _with_weights(
    architecture: Architecture, config: ModelConfig, family: Family, checkpoint: Checkpoint, dtype: DType
) -> Module:
    """The architecture's model, each parameter with the handle of its tensor in the checkpoint."""
    given: Mapping[str, Constant] = checkpoint.weights()
    if family.adapt is not None:
        given = family.adapt(given, config)
    build, optional = architecture.build, architecture.optional
    if optional is not None:
        has_it = any(optional in name for name in given)
        build = (architecture.build_with if has_it else architecture.build_without) or build
    module = build(config)
    parameters = {checkpoint_name(path, architecture.names): each for path, each in module.named_parameters()}
    matched = match_weights(
        {name: (dtype, parameter.shape) for name, parameter in parameters.items()},
        given,
        rename=lambda name: _canonical(name, family.aliases, given),
        ignore=family.ignored,
        source=checkpoint.path,
    )
    for name, parameter in parameters.items():
        parameter.data = matched.weights[name]
    return module


def _canonical(name: str, aliases: Mapping[str, str], given: Mapping[str, Constant]) -> str:
    """`name`, or what it is an alias of where the checkpoint has no tensor of that name itself."""
    meant = aliases.get(name, name)
    return name if meant in given else meant


def _lowered(texts: Any) -> Any:
    """Texts, or pairs of texts, in lower case; what is neither is left for the tokenizer to refuse."""
    if not isinstance(texts, list | tuple):
        return texts
    return type(texts)(text.lower() if isinstance(text, str) else _lowered(text) for text in texts)


def _as_text(value: object) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
