"""`TextConfig`: how the configurations of all families are read, and what they have in common besides their sizes.

The sizes are fields of its subclasses, `EncoderConfig`, `DecoderConfig` and `Seq2SeqConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from tfgraph.errors import ConfigError
from tfgraph.models.config_fields import read_fields, read_labels


class TextConfig:
    """The settings of a model over texts; its subclasses are dataclasses.

    Attributes:
        aliases: other names that the family's `config.json` has for a field: theirs to ours.
        max_position_embeddings: the longest text, in tokens.
        labels: the names of a classifier's classes, in the order of its logits.
    """

    model_type: ClassVar[str]
    aliases: ClassVar[Mapping[str, str]] = {}

    max_position_embeddings: int
    labels: tuple[str, ...]

    @property
    def num_labels(self) -> int:
        """How many classes a classifier tells apart."""
        return len(self.labels)

    @property
    def max_length(self) -> int | None:
        """The longest text that the model takes or writes, in tokens; None where its positions have no limit."""
        return self.max_position_embeddings

    @classmethod
    def from_dict(cls, given: Mapping[str, Any], source: str = "config.json") -> Self:
        """The configuration that the object in a `config.json` describes. `source` is what an error calls it.

        Raises:
            ConfigError: a setting is missing, of a wrong type, contradicts another, or asks for something that is not
                built here.
        """
        settings = cls._spelled_out(given, source)
        values = {**read_fields(cls, settings, source, cls.aliases), **cls._read_more(given, source)}
        values["labels"] = read_labels(settings, source)
        cls._refuse_unsupported(given, source)
        try:
            return cls(**values)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None

    @classmethod
    def _spelled_out(cls, given: Mapping[str, Any], source: str) -> Mapping[str, Any]:
        """`given`, with what it leaves unsaid, or says in one setting for several, in settings of its own."""
        return given

    @classmethod
    def _read_more(cls, given: Mapping[str, Any], source: str) -> dict[str, Any]:
        """The family's fields that a configuration does not have under a name of their own."""
        return {}

    @classmethod
    def _refuse_unsupported(cls, given: Mapping[str, Any], source: str) -> None:
        """Refuse settings that the family's models would ignore."""
