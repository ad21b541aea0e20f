"""Published sizes, as data: `configs["gpt3-175b"]`, the configuration of a well-known model without its checkpoint.

The numbers are in the families' own files, each in its `CONFIGS`; here they are gathered. What is counted about them is
in `sizes.py`, and how a model is made of one in `declared.py`. Checkpoints have configurations of their own, see
`tfgraph.pretrained`.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from tfgraph.errors import ConfigError
from tfgraph.models.registry import FAMILIES


class PublishedConfigs(Mapping[str, Any]):
    """Name to configuration, each of its family's own class, over all families; families are imported at first use.

    It cannot be changed. To vary a size, `dataclasses.replace(configs["gpt2"], num_hidden_layers=2)`.
    """

    @cached_property
    def _by_name(self) -> dict[str, Any]:
        modules = dict.fromkeys(home.partition(":")[0] for home in FAMILIES.values())
        gathered: dict[str, Any] = {}
        for module in modules:
            gathered |= importlib.import_module(module).CONFIGS
        return gathered

    def __getitem__(self, name: str) -> Any:
        """The configuration of a published model, such as a `GPT3Config`.

        Raises:
            ConfigError: none of that name is known; the message suggests the nearest.
        """
        if name in self._by_name:
            return self._by_name[name]
        near = [repr(each) for each in difflib.get_close_matches(str(name), self, n=3)]
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ConfigError(f"unknown published model {name!r}: {hint}`tfgraph models` lists all {len(self)}")

    def get(self, name: str, default: Any = None) -> Any:
        """The configuration of a published model, or `default` where none of that name is known."""
        return self._by_name.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        return f"PublishedConfigs({', '.join(self)})"


configs = PublishedConfigs()
"""All published sizes."""
