"""What a model's parameters are called in Hugging Face checkpoints.

Each family has a table from module paths to checkpoint names; here it is applied. Which tensor then becomes which
parameter is decided in `tfgraph.checkpoints`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tfgraph.errors import CheckpointError

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def checkpoint_name(path: str, names: Mapping[str, str]) -> str:
    """The checkpoint's name for the parameter at `path`.

    `names` maps the paths of modules, with `{}` for the position in a list: `"encoder.layers.{}.norm1"` to
    `"encoder.layer.{}.attention.output.LayerNorm"`.

    Raises:
        CheckpointError: the table has no entry for the parameter's module, so that no checkpoint can be read into it.
    """
    module, _, parameter = path.rpartition(".")
    name = names.get(_NUMBER.sub("{}", f"{module}.")[:-1])
    if name is None:
        raise CheckpointError(f"the table of checkpoint names has no entry for '{module}', the module of '{path}'")
    return f"{name.format(*_NUMBER.findall(path))}.{parameter}"


def attention_names(ours: str, theirs: str, query: str, key: str, value: str, output: str) -> dict[str, str]:
    """The entries for the four projections of the attention at `ours`, which are at `theirs` under the given names."""
    projections = {"query": query, "key": key, "value": value, "output": output}
    return {f"{ours}.{projection}": f"{theirs}.{name}" for projection, name in projections.items()}


def below(names: Mapping[str, str], path: str, prefix: str) -> dict[str, str]:
    """The table `names` for a model that holds the described one at `path`, and whose checkpoints prefix it."""
    return {f"{path}.{ours}": f"{prefix}.{theirs}" if prefix else theirs for ours, theirs in names.items()}
