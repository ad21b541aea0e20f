"""The table of candidates: which module makes each, at which precision, for which benchmarks.

A new peer is a module with `convert` and `load` (`interface.Peer`), and its lines here.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from tfgraph.bench.peers.interface import DECODE, ENCODER, TEXTS, Peer
from tfgraph.dsl.layers.choices import choose

OURS: Final = "tfgraph"
_ENCODERS: Final = frozenset({ENCODER, TEXTS})
_DECODERS: Final = frozenset({DECODE})
_ALL: Final = _ENCODERS | _DECODERS


@dataclass(frozen=True)
class Candidate:
    """Something that is timed.

    Attributes:
        name: of whose it is, such as "OpenVINO".
        precision: what is written beside the name; the first word says the type of weights.
        module: of this package.
        works: the benchmarks that it takes part in.
    """

    name: str
    precision: str
    module: str
    works: frozenset[str]

    @property
    def title(self) -> str:
        """How tables call it: `OpenVINO bf16`."""
        return f"{self.name} {self.precision}"

    @property
    def is_ours(self) -> bool:
        """Whether it is tfgraph's."""
        return self.name == OURS

    @property
    def width(self) -> str:
        """The type of its weights: fp32, bf16, int8 or int4; "auto" where tfgraph chooses."""
        return self.precision.partition(",")[0]

    @property
    def slug(self) -> str:
        """The title as a name of a folder."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())

    def peer(self) -> Peer:
        """The module that makes it."""
        return module_named(self.module)


TABLE: Final = (
    Candidate(OURS, "fp32", "ours", _ALL),
    Candidate(OURS, "bf16", "ours", _ENCODERS),
    Candidate(OURS, "int8, cosine >= 0.999", "ours", _ENCODERS),
    Candidate(OURS, "int8, cosine >= 0.988", "ours", _ENCODERS),
    Candidate(OURS, "int8", "ours", _DECODERS),
    Candidate(OURS, "int4", "ours", _DECODERS),
    Candidate(OURS, "auto, cosine >= 0.999", "ours", _ENCODERS),
    Candidate(OURS, "auto", "ours", _DECODERS),
    Candidate("torch", "fp32", "torch_encoder", _ENCODERS),
    Candidate("torch", "bf16", "torch_encoder", _ENCODERS),
    Candidate("torch", "fp32", "torch_decoder", _DECODERS),
    Candidate("torch", "bf16", "torch_decoder", _DECODERS),
    Candidate("ONNX Runtime", "fp32", "ort", _ENCODERS),
    Candidate("ONNX Runtime", "fp32, optimised", "ort", _ENCODERS),
    Candidate("ONNX Runtime", "int8, dynamic", "ort", _ENCODERS),
    Candidate("OpenVINO", "fp32", "openvino_encoder", _ENCODERS),
    Candidate("OpenVINO", "bf16", "openvino_encoder", _ENCODERS),
    Candidate("OpenVINO", "int8", "openvino_encoder", _ENCODERS),
    Candidate("OpenVINO", "fp32", "openvino_decoder", _DECODERS),
    Candidate("OpenVINO", "bf16", "openvino_decoder", _DECODERS),
    Candidate("OpenVINO", "int8", "openvino_decoder", _DECODERS),
    Candidate("OpenVINO", "int4", "openvino_decoder", _DECODERS),
    Candidate("openvino-genai", "fp32", "openvino_genai_decoder", _DECODERS),
    Candidate("openvino-genai", "int8", "openvino_genai_decoder", _DECODERS),
    Candidate("openvino-genai", "int4", "openvino_genai_decoder", _DECODERS),
    Candidate("CTranslate2", "fp32", "ctranslate2_model", _ALL),
    Candidate("CTranslate2", "int8", "ctranslate2_model", _ALL),
    Candidate("onnxruntime-genai", "fp32", "ort_genai", _DECODERS),
    Candidate("onnxruntime-genai", "int4", "ort_genai", _DECODERS),
    Candidate("llama.cpp", "int4, the file's own", "llama_cpp_decoder", _DECODERS),
)


def candidates_for(work: str, only: Sequence[str] | None = None) -> list[Candidate]:
    """The candidates of a benchmark, tfgraph's first; those alone whose title begins with one of `only`, if given.

    Raises:
        ConfigError: one of `only` is no beginning of a title.
    """
    known = [candidate for candidate in TABLE if work in candidate.works]
    if not only:
        return known
    titles = {candidate.title: candidate for candidate in known}
    wanted = []
    for text in only:
        found = [candidate for candidate in known if candidate.title.lower().startswith(text.lower())]
        wanted += found or [choose("candidate", text, titles)]
    return [candidate for candidate in known if candidate in wanted]


def module_named(name: str) -> Peer:
    """The module of that name in this package; a name with a dot is that of a module elsewhere."""
    return cast(Peer, importlib.import_module(name if "." in name else f"tfgraph.bench.peers.{name}"))
