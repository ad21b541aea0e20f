"""Published sizes, as data: what is needed to declare a well-known model without its checkpoint.

    BertModel(published_config("bert-base-uncased"))

Each table is in a file of its own, such as `encoder_configs.py`; here they are gathered and looked up. Checkpoints have
their own configurations, see `tfgraph.pretrained`.
"""

from __future__ import annotations

from typing import Any

from tfgraph.dsl.layers.choices import choose
from tfgraph.models.encoder_configs import ENCODERS

CONFIGS: dict[str, Any] = {
    **ENCODERS,
}
"""Name to configuration, each of its family's own class."""


def published_config(name: str) -> Any:
    """The configuration of a published model, such as a `BertConfig`.

    Raises:
        ConfigError: none of that name is known; the message suggests the nearest and lists all.
    """
    return choose("published model", name, CONFIGS)
