"""Every exception that tfgraph raises on purpose.

A message says what was given, what was expected, and what to do about it. Nothing here is raised for a bug in tfgraph
itself except `VerificationError`, which says that a pass broke an invariant.
"""

from __future__ import annotations


class TFGraphError(Exception):
    """The base of all errors that tfgraph raises on purpose."""


class ShapeError(TFGraphError, ValueError):
    """Shapes that do not fit together; the message names each of them, and the user's own line."""


class DTypeError(TFGraphError, TypeError):
    """A dtype that an operator, an input or a target does not take."""


class TraceError(TFGraphError):
    """A `forward` that cannot be traced: a Python branch on a tensor, a tensor of another trace, a wrong argument."""


class GraphError(TFGraphError):
    """A mutation that the graph does not allow, such as erasing a node that is still used."""


class VerificationError(TFGraphError):
    """A graph that breaks an invariant of the IR; raised by `tfgraph.ir.verify`."""


class ParseError(TFGraphError, ValueError):
    """IR text that does not parse; the message names the line and the column."""


class UnknownOperatorError(TFGraphError, LookupError):
    """An operator that the operator table does not hold, or that a target cannot run and no definition can replace."""


class CheckpointError(TFGraphError):
    """A checkpoint that is damaged, incomplete, or does not fit the model."""


class ConfigError(TFGraphError, ValueError):
    """A model configuration that is missing something, contradicts itself, or names an unknown model."""


class InputError(TFGraphError, ValueError):
    """Inputs of a run that are missing, unknown, or of a wrong dtype or shape."""


class TargetError(TFGraphError):
    """A target or execution provider that is unknown or not usable on this machine."""


class BudgetError(TFGraphError):
    """An error budget that no quantisation, and not even the unchanged model, stays within."""


class OnnxError(TFGraphError):
    """An ONNX file that is damaged, or uses something that tfgraph does not read or write."""


class ExportError(TFGraphError, OSError):
    """An artefact that could not be written; whatever was there before is left whole."""
