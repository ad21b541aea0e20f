"""JSON files: configurations, shard indexes, tokenizer settings, whose top level must be an object or an array.

What the objects mean is not known here. The header of a safetensors file is stricter than plain JSON and is read by
`tfgraph.checkpoints.safetensors`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tfgraph.errors import TFGraphError


def read_json_object(path: Path, error: type[TFGraphError]) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        `error`: the file cannot be read, is not JSON (the message has the line and column), or holds something else
            than an object.
    """
    content = _read_json(path, error)
    if not isinstance(content, dict):
        raise error(f"{path} holds a JSON {_KINDS[type(content)]} where an object, {{...}}, was expected")
    return content


def read_json_array(path: Path, error: type[TFGraphError]) -> list[Any]:
    """The array in a JSON file.

    Raises:
        `error`: the file cannot be read, is not JSON, or holds something else than an array.
    """
    content = _read_json(path, error)
    if not isinstance(content, list):
        raise error(f"{path} holds a JSON {_KINDS[type(content)]} where an array, [...], was expected")
    return content


def _read_json(path: Path, error: type[TFGraphError]) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as cause:
        raise error(f"{path} does not exist") from cause
    except OSError as cause:
        raise error(f"cannot read {path}: {cause.strerror or cause}") from cause
    except json.JSONDecodeError as cause:
        raise error(f"{path} is not valid JSON: {cause.msg} at line {cause.lineno}, column {cause.colno}") from cause
    except (ValueError, RecursionError) as cause:
        raise error(f"{path} is not valid JSON: {cause}") from cause


_KINDS = {
    dict: "object",
    list: "array",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}
