"""Dimensions as text: `past + seq`, `2*batch*seq - 1`, `floordiv(seq, 2)`; printing and parsing.

A symbol whose name is not an ASCII identifier (exporters write anything) is printed between backquotes, with JSON's
escapes.
"""

from __future__ import annotations

import ast
import json
import keyword
import re
from collections.abc import Sequence

from tfgraph.errors import ParseError
from tfgraph.ir.dims import Dim, Expr, Symbol, call, floordiv, mod, symbol

_FUNCTION_NAMES = frozenset({"floordiv", "mod", "max", "min"})
_QUOTED = re.compile(r"`([^`]*)`")
_STAND_IN = re.compile(r"__quoted_(\d+)__")


def format_dim(dim: Dim) -> str:
    """`dim` as text that `parse_dim` reads back."""
    if isinstance(dim, int):
        return str(dim)
    text = ""
    for monomial, coefficient in dim.terms:
        factors = [str(abs(coefficient))] if abs(coefficient) != 1 or not monomial else []
        for atom in monomial:
            if isinstance(atom, Symbol):
                factors.append(format_symbol(atom.name))
            else:
                factors.append(f"{atom.function}({', '.join(format_dim(argument) for argument in atom.arguments)})")
        sign = "-" if coefficient < 0 else "+"
        text += (f" {sign} " if text else sign.strip("+")) + "*".join(factors)
    return text


def format_symbol(name: str) -> str:
    """A symbol's name, between backquotes where it is not an identifier that the parser would read as itself."""
    plain = name.isascii() and name.isidentifier() and not keyword.iskeyword(name)
    if plain and name not in _FUNCTION_NAMES and not _STAND_IN.fullmatch(name):
        return name
    escaped = json.dumps(name, ensure_ascii=not name.isprintable())[1:-1].replace("`", "\\u0060")
    return f"`{escaped}`"


def format_shape(shape: Sequence[Dim]) -> str:
    """A shape as `[batch, seq, 64]`."""
    return f"[{', '.join(format_dim(dim) for dim in shape)}]"


def parse_dim(text: str) -> Dim:
    """The dimension that `text` spells.

    Raises:
        ParseError: not arithmetic over integers and names with `+ - * // %`, `floordiv`, `mod`, `max` and `min`.
    """
    quoted: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        name = f"__quoted_{len(quoted)}__"
        quoted[name] = json.loads(f'"{match.group(1)}"')
        return name

    try:
        tree = ast.parse(_QUOTED.sub(stand_in, text.strip()), mode="eval").body
        return _evaluate(tree, quoted, text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _not_a_dimension(text) from None


def as_dim(given: int | str | Expr) -> Dim:
    """A dimension from an integer, an `Expr`, or text such as `"past + seq"`.

    Raises:
        ParseError: text that is not a dimension.
    """
    return parse_dim(given) if isinstance(given, str) else given


def _evaluate(node: ast.expr, quoted: dict[str, str], text: str) -> Dim:
    match node:
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            return value
        case ast.Name(id=name):
            return symbol(quoted.get(name, name))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, quoted, text)
        case ast.BinOp(left=left, op=operation, right=right):
            a, b = _evaluate(left, quoted, text), _evaluate(right, quoted, text)
            match operation:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.FloorDiv():
                    return floordiv(a, b)
                case ast.Mod():
                    return mod(a, b)
        case ast.Call(func=ast.Name(id=function), args=[left, right], keywords=[]) if function in _FUNCTION_NAMES:
            return call(function, _evaluate(left, quoted, text), _evaluate(right, quoted, text))
    raise _not_a_dimension(text)


def _not_a_dimension(text: str) -> ParseError:
    shown = text if len(text) <= 60 else f"{text[:60]}…"
    return ParseError(f"{shown!r} is not a dimension: expected arithmetic such as 'past + seq'")
