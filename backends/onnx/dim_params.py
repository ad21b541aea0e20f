"""Dimensions as ONNX files spell them: an integer, or free text called `dim_param`.

The spelling of tfgraph itself is in `tfgraph.ir.dim_text`; files by other tools hold anything, and it is read here.
"""

from __future__ import annotations

from functools import lru_cache

from tfgraph.errors import ParseError
from tfgraph.ir.dim_text import format_dim, parse_dim
from tfgraph.ir.dims import Dim, Expr, Symbol, symbol

_UNKNOWN = frozenset({"", "?", "*", "-1", "None", "none", "null", "unk", "unknown"})
_LONGEST_ARITHMETIC = 512  # a longer text is a name: parsing it as arithmetic could take for ever


@lru_cache(maxsize=4096)
def read_dim(text: str) -> Dim | None:
    """The dimension that a `dim_param` names; None where it says that nothing is known.

    Arithmetic over names (`past + seq`, as tfgraph and torch write it) becomes arithmetic. Text that is none becomes a
    symbol of that name.
    """
    if text.strip() in _UNKNOWN:
        return None
    if len(text) > _LONGEST_ARITHMETIC:
        return symbol(text)
    try:
        dim = parse_dim(text)
    except (ParseError, ZeroDivisionError):
        return symbol(text)
    return symbol(text) if isinstance(dim, int) and dim < 0 else dim


@lru_cache(maxsize=4096)
def write_dim(dim: Dim) -> int | str:
    """`dim` as a file holds it: an integer, or text that `read_dim` reads back as the same dimension."""
    if isinstance(dim, int):
        return dim
    name = lone_symbol(dim)
    return name if name is not None and read_dim(name) == dim else format_dim(dim)


def lone_symbol(dim: Dim) -> str | None:
    """The name of the symbol that `dim` is, or None where it is anything else."""
    match dim:
        case Expr(terms=(((Symbol(name=name),), 1),)):
            return name
    return None
