"""What published sizes amount to: layers, heads, the longest text, and the number of parameters, exactly.

Parameters are counted on the declared model, which holds no numbers; see `main_task` for which model of a family that
is. The sizes themselves are in `published.py`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tfgraph.dsl.layers.choices import choose
from tfgraph.errors import ConfigError
from tfgraph.models.declared import build
from tfgraph.models.published import configs
from tfgraph.models.registry import FAMILIES


@dataclass(frozen=True)
class Size:
    """A published size, in numbers.

    Attributes:
        name: as in `tfgraph.models.configs`.
        family: the family's `model_type`.
        task: what the counted model is for; see `main_task`.
        layers: of the encoder, in an encoder-decoder, which has `decoder_layers` as well; None for all others.
        hidden_size: features of a hidden state.
        heads, kv_heads: heads of the query, and of key and value, which may be fewer.
        max_length: the longest text, in tokens; what the model was trained with where it sets no limit.
        vocab_size: tokens in the vocabulary.
        parameters: weights of the model, shared ones counted once.
    """

    name: str
    family: str
    task: str
    layers: int
    decoder_layers: int | None
    hidden_size: int
    heads: int
    kv_heads: int
    max_length: int
    vocab_size: int
    parameters: int

    def as_dict(self) -> dict[str, Any]:
        """The size as JSON has it."""
        return asdict(self)


def size_of(name: str) -> Size:
    """The numbers of a published size.

    Raises:
        ConfigError: no published model has that name.
    """
    model = build(name)
    config: Any = model.config
    return Size(
        name=name,
        family=model.family.model_type,
        task=model.task,
        layers=config.num_hidden_layers,
        decoder_layers=getattr(config, "decoder_layers", None),
        hidden_size=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=getattr(config, "kv_heads", config.num_attention_heads),
        max_length=config.max_length or config.max_position_embeddings,
        vocab_size=config.vocab_size,
        parameters=model.num_parameters(),
    )


def find_sizes(search: str = "", family: str | None = None) -> list[Size]:
    """The published sizes whose name or family has `search` in it, in any case, of one family or of all.

    Raises:
        ConfigError: no such family, or no such size; the message says which there are.
    """
    if family is not None:
        choose("family", family, FAMILIES)
    kinds = {name: config.model_type for name, config in configs.items()}
    among = [name for name, kind in kinds.items() if family in (None, kind)]
    wanted = search.casefold()
    found = [name for name in among if wanted in name.casefold() or wanted in kinds[name].casefold()]
    if found:
        return [size_of(name) for name in found]
    where = "" if family is None else f" of the family {family!r}"
    listed = ", ".join(dict.fromkeys(kinds.values()) if family is None else among)
    what = "the families are" if family is None else "its models are"
    raise ConfigError(f"no published model{where} has {search!r} in its name: {what} {listed}")
