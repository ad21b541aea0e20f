"""`tfgraph.json`, the manifest of an exported model: what it is, what it takes and gives, how texts become its inputs.

The same export gives the same manifest, byte for byte: it has no times and no paths. What writes an export is
`exporter.py`, what runs one `artefact.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tfgraph.backends.interface import TensorSpec
from tfgraph.checkpoints.json_file import read_json_object
from tfgraph.errors import ConfigError, TFGraphError
from tfgraph.ir.dim_text import format_dim, parse_dim
from tfgraph.ir.dims import Dim
from tfgraph.ir.dtypes import as_dtype
from tfgraph.ir.graph import Graph
from tfgraph.models.family import WHOLE_MODEL
from tfgraph.version import __version__

MANIFEST_FILE: Final = "tfgraph.json"
MODEL_FILE: Final = "model.onnx"
WEIGHTS_FILE: Final = "model.data"
"""The weights of a model of several graphs."""

_FORMAT: Final = 1
_FORMAT_OF_PARTS: Final = 2  # with 'parts', which a tfgraph that knows only the first format has to refuse


@dataclass(frozen=True)
class GraphFile:
    """One graph of an exported model: its ONNX file, and what it takes and gives, by name, in its order."""

    file: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


@dataclass(frozen=True)
class Manifest:
    """What an export says about itself.

    Attributes:
        target: the name of the target that it was made for.
        opset: the ONNX opset of the model.
        inputs, outputs: of the model, by name, in its order; where it runs as several graphs, the inputs of the first
            and the outputs of the last.
        report: what the passes did, as `tfgraph.passes.report.Report.as_dict` gives it.
        model: what a user has to know about the model: its `task`, `model_type`, `max_length`, `labels`, `pooling` and
            the like; empty for a model that did not come from a checkpoint.
        files: the other files of the export, with their sizes in bytes.
        version: the version of tfgraph that made it.
        parts: the graphs that the model runs as, by name: `model` alone, or `encoder` and `decoder`.
        quantization: for each graph that was quantised, by its name: the precision, the scheme of each site, the budget
            and the errors that were measured, as `tfgraph.quantization.outcome.Quantization.as_dict` gives them.
        precision: what the model computes in.
        choice: what was tried on the machine that exported it, as `tfgraph.ways.Choice.as_dict` gives it; empty if the
            precision was not left to be chosen.
    """

    target: str
    opset: int
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    report: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)
    version: str = __version__
    parts: Mapping[str, GraphFile] = field(default_factory=dict)
    quantization: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    precision: str = "fp32"
    choice: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.parts:
            object.__setattr__(self, "parts", {WHOLE_MODEL: GraphFile(MODEL_FILE, self.inputs, self.outputs)})

    @property
    def task(self) -> str | None:
        """What the model does, one of `tfgraph.models.family.TASKS`; None if it did not come from a checkpoint."""
        return self.model.get("task")

    @property
    def max_length(self) -> int | None:
        """The longest text that the model takes or writes, in tokens, which texts are cut to; None for no limit."""
        return self.model.get("max_length")

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of a classifier's classes, in the order of its scores."""
        return tuple(self.model.get("labels", ()))

    def as_dict(self) -> dict[str, Any]:
        """The manifest as plain data, for JSON."""
        whole, quantized = list(self.parts) == [WHOLE_MODEL], bool(self.quantization)
        return {
            "format": _FORMAT if whole else _FORMAT_OF_PARTS,
            "tfgraph_version": self.version,
            "target": self.target,
            "opset": self.opset,
            "inputs": [_spec_as_dict(spec) for spec in self.inputs.values()],
            "outputs": [_spec_as_dict(spec) for spec in self.outputs.values()],
            "report": dict(self.report),
            "model": dict(self.model),
            "files": dict(self.files),
            **({} if whole else {"parts": [_part_as_dict(name, part) for name, part in self.parts.items()]}),
            **({"quantization": {name: dict(each) for name, each in self.quantization.items()}} if quantized else {}),
            **({} if self.precision == "fp32" else {"precision": self.precision}),
            **({"choice": dict(self.choice)} if self.choice else {}),
        }

    def save(self, folder: Path) -> None:
        """Write the manifest into `folder`."""
        text = json.dumps(self.as_dict(), indent=2, sort_keys=True, ensure_ascii=False)
        (folder / MANIFEST_FILE).write_text(f"{text}\n", encoding="utf-8")


def interface_of(graph: Graph) -> tuple[dict[str, TensorSpec], dict[str, TensorSpec]]:
    """The inputs and the outputs of a graph, by name."""
    inputs, outputs = (
        {name: TensorSpec(name, value.dtype, value.type.known_shape) for name, value in values.items()}
        for values in (graph.inputs, graph.outputs)
    )
    return inputs, outputs


def read_manifest(folder: Path) -> Manifest:
    """The manifest in `folder`.

    Raises:
        ConfigError: the folder is not there or is no export, or the manifest is damaged or newer than this tfgraph.
    """
    path = folder / MANIFEST_FILE
    if not os.path.isfile(path):  # pathlib's raises for a name that is too long, or a folder that may not be searched
        found = "is a file" if os.path.isfile(folder) else "does not exist"
        found = f"has no {MANIFEST_FILE}" if os.path.isdir(folder) else found
        raise ConfigError(
            f"{folder} {found}: expected a folder that tfgraph exported a model into. Make one with "
            "`tfgraph export CHECKPOINT OUT`"
        )
    content = read_json_object(path, ConfigError)
    found_format = content.get("format")
    if type(found_format) is not int or found_format not in (_FORMAT, _FORMAT_OF_PARTS):
        raise ConfigError(
            f"{path} has the format {found_format!r}, and tfgraph {__version__} reads the formats {_FORMAT} and "
            f"{_FORMAT_OF_PARTS}: use the tfgraph that wrote it ({content.get('tfgraph_version', 'unknown version')}), "
            "or export the model again"
        )
    try:
        return _from_dict(content)
    except (_Damage, TFGraphError) as error:
        raise ConfigError(f"{path} is damaged: {error}. Export the model again") from None


_MODEL_KINDS = {"task": str, "model_type": str, "max_length": int, "labels": list, "decoder_start_token_id": int}


class _Damage(Exception):
    """What is wrong with a manifest."""


def _from_dict(content: Mapping[str, Any]) -> Manifest:
    files = _field(content, "files", dict)
    for name, size in files.items():
        if type(size) is not int or Path(name).name != name or name in ("", "..", "."):
            raise _Damage(f"'files' gives {name!r} the size {size!r}: expected file names with sizes in bytes")
    model = _field(content, "model", dict)
    for key, kind in _MODEL_KINDS.items():
        if key in model and type(model[key]) is not kind:
            raise _Damage(f"'model' has {model[key]!r} as its '{key}': expected {_KINDS[kind]}")
    return Manifest(
        target=_field(content, "target", str),
        opset=_field(content, "opset", int),
        inputs=_specs(content, "inputs"),
        outputs=_specs(content, "outputs"),
        report=_field(content, "report", dict),
        model=model,
        files=files,
        version=_field(content, "tfgraph_version", str),
        parts=_parts(content) if content["format"] == _FORMAT_OF_PARTS else {},
        quantization=_quantization(content),
        precision=_field(content, "precision", str) if "precision" in content else "fp32",
        choice=_field(content, "choice", dict) if "choice" in content else {},
    )


def _quantization(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    found = _field(content, "quantization", dict) if "quantization" in content else {}
    for name, record in found.items():
        if type(record) is not dict or type(record.get("precision")) is not str:
            raise _Damage(
                f"'quantization' has {record!r} for '{name}': expected an object with 'precision' and 'sites'"
            )
        sites = _field(record, "sites", dict)
        wrong = next((scheme for scheme in sites.values() if type(scheme) is not str), None)
        if wrong is not None:
            raise _Damage(f"'quantization' gives a site the scheme {wrong!r}: expected the name of a scheme")
    return found


def _parts(content: Mapping[str, Any]) -> dict[str, GraphFile]:
    parts = {}
    for given in _field(content, "parts", list):
        if not isinstance(given, dict):
            raise _Damage(f"'parts' holds {given!r}: expected objects with 'name', 'file', 'inputs' and 'outputs'")
        file = _field(given, "file", str)
        if file not in content["files"]:
            raise _Damage(f"'parts' names the file {file!r}, which is not in 'files'")
        parts[_field(given, "name", str)] = GraphFile(file, _specs(given, "inputs"), _specs(given, "outputs"))
    if not parts:
        raise _Damage("'parts' is empty: expected at least one graph")
    return parts


_KINDS = {dict: "an object", list: "an array", str: "a text", int: "an integer"}


def _field(content: Mapping[str, Any], name: str, kind: type) -> Any:
    if type(content.get(name)) is not kind:
        found = f"is {content[name]!r}" if name in content else "is missing"
        raise _Damage(f"'{name}' {found}: expected {_KINDS[kind]}")
    return content[name]


def _specs(content: Mapping[str, Any], name: str) -> dict[str, TensorSpec]:
    specs = [_spec_from_dict(each, name) for each in _field(content, name, list)]
    return {spec.name: spec for spec in specs}


def _part_as_dict(name: str, part: GraphFile) -> dict[str, Any]:
    return {
        "name": name,
        "file": part.file,
        "inputs": [_spec_as_dict(spec) for spec in part.inputs.values()],
        "outputs": [_spec_as_dict(spec) for spec in part.outputs.values()],
    }


def _spec_as_dict(spec: TensorSpec) -> dict[str, Any]:
    shape = None if spec.shape is None else [_dim_as_json(dim) for dim in spec.shape]
    return {"name": spec.name, "dtype": spec.dtype.value, "shape": shape}


def _dim_as_json(dim: Dim | None) -> int | str | None:
    return dim if dim is None or isinstance(dim, int) else format_dim(dim)


def _spec_from_dict(given: object, place: str) -> TensorSpec:
    if not isinstance(given, dict):
        raise _Damage(f"'{place}' holds {given!r}: expected objects with 'name', 'dtype' and 'shape'")
    shape = given.get("shape")
    if shape is not None and (
        type(shape) is not list or not all(dim is None or type(dim) in (int, str) for dim in shape)
    ):
        raise _Damage(f"'{place}' has the shape {shape!r}: expected an array of integers and texts")
    dims = None if shape is None else tuple(parse_dim(dim) if isinstance(dim, str) else dim for dim in shape)
    return TensorSpec(_field(given, "name", str), as_dtype(_field(given, "dtype", str)), dims)
