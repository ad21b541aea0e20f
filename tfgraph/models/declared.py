"""Models declared by name, without a checkpoint: `build("gpt2")` knows its inputs, and can be traced and compiled.

What a loaded checkpoint becomes is in `tfgraph.pretrained`; which names there are, in `published.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tfgraph.dsl.module import Module
from tfgraph.errors import ConfigError, TraceError
from tfgraph.ir.dtypes import DType
from tfgraph.ir.graph import Graph
from tfgraph.models.family import SEQ2SEQ_LM, TEXT_GENERATION, WHOLE_MODEL, Architecture, Family, ModelConfig, Part
from tfgraph.models.published import configs
from tfgraph.models.registry import FAMILIES, find_family

_MAIN_TASKS = (SEQ2SEQ_LM, TEXT_GENERATION, "base")


@dataclass(frozen=True, eq=False)
class DeclaredModel:
    """A model of a published or a given configuration, for one task.

    Its weights are absent: in a graph they have the numbers that training would start from, unless
    `module.load_state_dict` or `module.init_weights` gave others before.

    Attributes:
        module: the model.
        config: the family's configuration.
        family: which family it is of.
        task: one of `tfgraph.models.family.TASKS`.
        parts: the graphs that the model runs as, each of which can be compiled: `model`, or, where an encoder-decoder
            writes texts, `encoder` and `decoder`. They share their weights.
    """

    module: Module
    config: ModelConfig
    family: Family = field(repr=False)
    task: str
    parts: Mapping[str, Part] = field(repr=False)

    @property
    def input_specs(self) -> dict[str, Any]:
        """What the model is traced with: its inputs, of any batch and length; those of the first part of several."""
        return dict(next(iter(self.parts.values())).inputs)

    def trace(self) -> Graph:
        """The model as a graph.

        Raises:
            TraceError: the model runs as several graphs.
        """
        if len(self.parts) > 1:
            one = next((each.task for each in self.family.architectures if each.task == SEQ2SEQ_LM), "base")
            raise TraceError(
                f"{self.family.model_type} for {self.task} is {len(self.parts)} graphs, {' and '.join(self.parts)}: "
                f"compile each, as in tfgraph.compile(model.parts[{next(iter(self.parts))!r}]), or build the model "
                f"with task={one!r}, which is one graph"
            )
        return next(iter(self.parts.values())).trace()

    def num_parameters(self) -> int:
        """Number of weights, shared ones counted once."""
        return self.module.num_parameters()


def build(model: str | ModelConfig, *, task: str | None = None) -> DeclaredModel:
    """Declare a model without a checkpoint: no weight is made until its graph is written or run.

        tg.compile(tg.models.build("gpt2"), target="cpu")

    Args:
        model: the name of a published size, see `tfgraph.models.configs`, or a configuration.
        task: one of the family's tasks, of `tfgraph.models.family.TASKS`; its main one if not given, see `main_task`.

    Raises:
        ConfigError: no such model, no such task of its family, or something that is neither a name nor a
            configuration.
    """
    config: Any = configs[model] if isinstance(model, str) else model
    family = _family_of(config)
    architecture = family.architecture_for(main_task(family) if task is None else task)
    module = architecture.build(config)
    return DeclaredModel(module, config, family, architecture.task, _parts(architecture, family, module, config))


def main_task(family: Family) -> str:
    """What a family is mainly used for, and its published models are counted as.

    An encoder-decoder scores a given answer (`seq2seq-lm`); a decoder predicts the next token (`text-generation`), with
    the matrix for that, which counts where it is not the table of word embeddings; an encoder gives hidden states
    (`base`), with its pooler if it has one.
    """
    tasks = {architecture.task for architecture in family.architectures}
    return next(task for task in _MAIN_TASKS if task in tasks)


def _family_of(config: Any) -> Family:
    model_type = getattr(config, "model_type", None)
    family = find_family(model_type) if isinstance(model_type, str) and model_type in FAMILIES else None
    if family is None or not isinstance(config, family.config):
        raise ConfigError(
            f"cannot build a model from {config!r}: expected a name such as 'gpt2', see tfgraph.models.configs, or a "
            "family's configuration, such as a GPT2Config"
        )
    return family


def _parts(architecture: Architecture, family: Family, module: Module, config: Any) -> Mapping[str, Part]:
    """The graphs of the model; their metadata says what it is."""
    facts = {"model_type": family.model_type, "task": architecture.task}
    if architecture.parts is not None:
        made = architecture.parts(module, config, DType.FLOAT32)
        return {name: Part(part.module, part.inputs, part.name, {**facts, "part": name}) for name, part in made.items()}
    inputs = family.inputs_of(architecture, config, DType.FLOAT32)
    return {WHOLE_MODEL: Part(module, inputs, architecture.name or None, facts)}
