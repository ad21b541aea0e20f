"""`Family`, `Architecture`, `Part`: what a family's file says of itself, so that checkpoints can be loaded into it.

Which families there are is in `registry.py`; reading a checkpoint is the business of `tfgraph.pretrained`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from tfgraph.dsl.layers.choices import choose
from tfgraph.dsl.module import Module
from tfgraph.dsl.trace import spec, trace
from tfgraph.errors import ConfigError
from tfgraph.ir.constant import Constant
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph

SENTENCE_EMBEDDING = "sentence-embedding"
TEXT_GENERATION = "text-generation"
SEQ2SEQ_LM = "seq2seq-lm"
ENCODER = "encoder"

WHOLE_MODEL = "model"
"""The name of the only part of a model that runs as one graph."""

TASKS = {
    "base": "hidden states, and the pooler's vector if there is a pooler",
    SENTENCE_EMBEDDING: "one vector for each text",
    TEXT_GENERATION: "scores for the next token, and the cache of keys and values that grows with each",
    "causal-lm": "a score for each token of the vocabulary to be the next, at each position",
    SEQ2SEQ_LM: "a score for each token of the vocabulary to be the next of the answer, at each position",
    ENCODER: "hidden states of the encoder of an encoder-decoder",
    "masked-lm": "a score for each token of the vocabulary, at each position",
    "next-sentence": "whether the second text follows the first",
    "pre-training": "masked-lm, and whether the second text follows the first, together",
    "replaced-token-detection": "a score for each token to have been put in the place of another",
    "sequence-classification": "a score for each label, for the whole text",
    "token-classification": "a score for each label, at each position",
    "question-answering": "where in the text the answer starts and ends",
    "multiple-choice": "a score for each of several texts",
}
"""Every task that a checkpoint can be loaded for, and what its model returns."""


class ModelConfig(Protocol):
    """What every family's configuration offers."""

    @property
    def max_length(self) -> int | None:
        """The longest input that the model takes, in tokens; None where its positions have no limit."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of a classifier's classes."""

    @classmethod
    def from_dict(cls, given: Mapping[str, Any], source: str = ...) -> Self:
        """The configuration that the object in a `config.json` describes."""


@dataclass(frozen=True, eq=False)
class Part:
    """One graph of a model: a module, what it is traced with, and what its graph is called and says as metadata."""

    module: Module
    inputs: Mapping[str, Any]
    name: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def trace(self) -> Graph:
        """The part as a graph."""
        graph = trace(self.module, name=self.name, **self.inputs)
        graph.metadata.update(self.metadata)
        return graph


@dataclass(frozen=True)
class Architecture:
    """A model of a family: for which task, under which Hugging Face class name, how it is made and named.

    `names` maps module paths to checkpoint names, see `checkpoint_name`. Where a checkpoint has no tensor whose name
    contains `optional`, `build_without` makes the model without that part; where it has one, `build_with` makes it, if
    `build` does not. `inputs` declares, for a configuration and the dtype of the weights, what the model takes, where
    that is not the family's own; `fixed_inputs` the same with a cache of so many positions, for models that have that
    form. Of a model that runs as several graphs, `parts` makes them: of the model, whose weights they share, its
    configuration, and the dtype of the weights.
    """

    name: str
    task: str
    build: Callable[[Any], Module]
    names: Mapping[str, str]
    optional: str | None = None
    build_without: Callable[[Any], Module] | None = None
    build_with: Callable[[Any], Module] | None = None
    inputs: Callable[[Any, DType], Mapping[str, Any]] | None = None
    fixed_inputs: Callable[[Any, DType, int | str], Mapping[str, Any]] | None = None
    parts: Callable[[Any, Any, DType], Mapping[str, Part]] | None = None


@dataclass(frozen=True)
class Family:
    """A model family.

    `ignored` are shell patterns of tensors that its checkpoints may hold beside what a model uses, such as another
    task's head. `aliases` maps other names that checkpoints have for a tensor to the one in the tables.
    """

    model_type: str
    config: type[ModelConfig]
    architectures: tuple[Architecture, ...]
    ignored: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ("input_ids", "attention_mask", "token_type_ids")
    adapt: Callable[[Mapping[str, Constant], Any], Mapping[str, Constant]] | None = None

    def architecture_for(self, task: str) -> Architecture:
        """The architecture for a task.

        Raises:
            ConfigError: the family has none; the message lists the tasks that it has.
        """
        return choose(f"{self.model_type} task", task, {each.task: each for each in self.architectures})

    def architecture_named(self, name: str) -> Architecture:
        """The architecture of a Hugging Face class, such as `BertForMaskedLM`.

        Raises:
            ConfigError: the family has none of that name.
        """
        try:
            known = {each.name: each for each in self.architectures}
            return choose(f"{self.model_type} architecture", name, known)
        except ConfigError as error:
            tasks = ", ".join(repr(each.task) for each in self.architectures)
            raise ConfigError(f"{error}. To load the weights all the same, say for which task: {tasks}") from None

    def inputs_of(self, architecture: Architecture, config: Any, dtype: DType) -> dict[str, Any]:
        """What a model is traced with, of any batch and length; a cache has the dtype of the weights."""
        if architecture.inputs is not None:
            return dict(architecture.inputs(config, dtype))
        return self.input_specs(architecture.task)

    def input_specs(self, task: str) -> dict[str, Any]:
        """The inputs of a model for `task` that takes texts alone: int64, of any batch and length."""
        return text_inputs(task, self.inputs)


def text_inputs(task: str, names: Iterable[str]) -> dict[str, Any]:
    """Inputs of a model for `task`, of any batch and length: int64 [batch, seq], or a third axis for choices."""
    shape = ["batch", "choices", "seq"] if task == "multiple-choice" else ["batch", "seq"]
    return {name: spec("int64", shape) for name in names}
