"""`Request`: how a user asks for quantisation, checked before any work is done; and the calibration that it names."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tfgraph.errors import ConfigError, InputError
from tfgraph.models.family import TEXT_GENERATION
from tfgraph.passes.quantise.sites import Site
from tfgraph.quantization.budget import Budget
from tfgraph.quantization.calibration import Calibration, from_arrays, from_texts, read_arrays, read_texts
from tfgraph.quantization.profiles import check_precision
from tfgraph.quantization.schemes import scheme_named

if TYPE_CHECKING:
    from tfgraph.ir.graph import Graph

FLOAT_PRECISION: Final = "fp32"
DECODER_TASKS: Final = (TEXT_GENERATION, "causal-lm")
_SCORES_EVERYWHERE: Final = "causal-lm"


@dataclass(frozen=True)
class Request:
    """What a user asked for: see `tfgraph.compile`.

    Raises:
        ConfigError: an unknown precision or scheme, a budget that cannot be, or one with nothing to measure it on.
    """

    precision: str = FLOAT_PRECISION
    budget: Budget | None = None
    calibration: Any = None
    sites: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_precision(self.precision)
        for scheme in self.sites.values():
            scheme_named(scheme)
        if self.precision == FLOAT_PRECISION and (self.budget is not None or self.sites):
            given = f"the budget {self.budget}" if self.budget is not None else f"sites={dict(self.sites)}"
            raise ConfigError(
                f'{given} was given, and precision is "fp32", which changes nothing: add precision="int8" or "int4"'
            )
        if self.budget is not None and self.calibration is None:
            raise ConfigError(
                f"the budget {self.budget} cannot be kept without inputs to measure the error on: give "
                "calibration=[…] with texts (or dicts of arrays), or calibration=FILE with one text a line; random "
                "inputs would say nothing about yours"
            )

    @classmethod
    def of(
        cls, precision: str, budget: str | Budget | None, calibration: Any, sites: Mapping[str, str] | None
    ) -> Request:
        """The request for the arguments of `tfgraph.compile`."""
        return cls(precision, None if budget is None else Budget.parse(budget), calibration, dict(sites or {}))

    @property
    def wanted(self) -> bool:
        """Whether anything is to be changed."""
        return self.precision != FLOAT_PRECISION


def for_part(calibration: Any, part: str, several: bool) -> Any:
    """The calibration of a graph of a model: where it runs as several, what is given for `part`; None without any.

    Raises:
        ConfigError: texts, or one list, for several graphs.
    """
    if calibration is None or not several:
        return calibration
    if not isinstance(calibration, Mapping):
        raise ConfigError(
            "the model runs as several graphs, so that one list of inputs cannot calibrate each: give a dict with a "
            f"list of dicts of arrays for each graph, such as calibration={{{part!r}: [{{…}}]}}"
        )
    return calibration.get(part)


def is_decoder(graph: Graph) -> bool:
    """Whether the model predicts one token after another."""
    return graph.metadata.get("task") in DECODER_TASKS or any(name.startswith("past") for name in graph.inputs)


def calibration_of(request: Request, model: Any, graph: Graph) -> tuple[Calibration, Graph | None] | None:
    """The calibration inputs, and what they are run on where that is not `graph` itself; None without calibration.

    A model for text generation gives scores after the last token only, and takes a cache: texts run through the same
    weights with scores everywhere.

    Raises:
        InputError: texts for a model without a tokenizer; too few; a file that cannot be read.
        ConfigError: arrays that are not the model's inputs.
    """
    if request.calibration is None:
        return None
    given = request.calibration
    if isinstance(given, str | Path) and Path(given).suffix == ".npz":
        given = read_arrays(Path(given))
    texts = read_texts(given)
    if texts is None:
        found = from_arrays(given)
        sibling = _sibling(model) if "past" not in " ".join(found.cases[0]) else None
        return found, sibling
    from tfgraph.pretrained import Pretrained

    if not isinstance(model, Pretrained):
        raise InputError(
            f"texts cannot calibrate {type(model).__name__}, which has no tokenizer: give a list of dicts of arrays, "
            f"with {', '.join(graph.inputs)}"
        )
    return from_texts(model, texts, windows=model.task in DECODER_TASKS), _sibling(model)


def _sibling(model: Any) -> Graph | None:
    """The graph of the same weights that gives scores everywhere; None where the model's own graph is to be run."""
    from tfgraph.pretrained import Pretrained, load

    if not isinstance(model, Pretrained) or model.task != TEXT_GENERATION:
        return None
    dtype = next(iter(model.module.named_parameters()))[1].dtype
    return load(model.path, task=_SCORES_EVERYWHERE, dtype=str(dtype)).trace()


def overridden(sites: Sequence[Site], patterns: Mapping[str, str]) -> dict[str, str]:
    """The names of the schemes that the user's patterns give to sites; of several that match, the last.

    Raises:
        ConfigError: a pattern that no site matches.
    """
    found: dict[str, str] = {}
    for pattern, scheme in patterns.items():
        matching = [site.name for site in sites if fnmatch.fnmatchcase(site.name, pattern)]
        if not matching:
            some = ", ".join(site.name for site in sites[:4]) or "none"
            raise ConfigError(
                f"no site matches {pattern!r}: patterns are matched against the names of weights, such as {some}, "
                'where "*" stands for anything'
            )
        found.update(dict.fromkeys(matching, scheme))
    return found
