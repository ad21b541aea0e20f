"""Moving through IR text: blanks and comments, names, strings, types, and errors that say where they are.

What the pieces mean is in `parse.py`.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator

from tfgraph.errors import DTypeError, ParseError
from tfgraph.ir.dim_text import parse_dim
from tfgraph.ir.dtypes import as_dtype
from tfgraph.ir.text import PLAIN_NAME
from tfgraph.ir.types import CONTAINERS, MOST_NESTED, TensorType

STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
"""A quoted string, quotes and escapes included."""

_BLANK = re.compile(r"(?:\s+|#[^\n]*)*")
_NAME = re.compile(rf"({PLAIN_NAME.pattern})|{STRING.pattern}")
_VALUE = re.compile(rf"%(?:({PLAIN_NAME.pattern})|{STRING.pattern})")
_TYPE = re.compile(r"([A-Za-z]\w*)\[((?:[^\]`\n]|`[^`\n]*`)*)\]")
_CONTAINER = re.compile(rf"({'|'.join(CONTAINERS)})\s*<")
_WORD = re.compile(r"[\w.%-]{1,40}|->|\S")


class Scanner:
    """A place in a text, which only moves forward. Blanks and comments before a piece are skipped."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._types: dict[str, TensorType] = {}

    def here(self) -> int:
        """Where the next piece begins."""
        blank = _BLANK.match(self._text, self._place)
        self._place = blank.end() if blank else self._place
        return self._place

    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self.here() == len(self._text)

    def looks_at(self, literal: str) -> bool:
        """Whether the next piece begins with `literal`."""
        return self._text.startswith(literal, self.here())

    def accept(self, literal: str) -> bool:
        """Move past `literal` if it comes next; a word must not go on behind it."""
        end = self.here() + len(literal)
        found = self._text.startswith(literal, self._place)
        if found and literal[-1].isalpha() and self._text[end : end + 1].isidentifier():
            return False
        self._place = end if found else self._place
        return found

    def expect(self, literal: str) -> None:
        """Move past `literal`.

        Raises:
            ParseError: something else comes next.
        """
        if not self.accept(literal):
            raise self.wrong(f"'{literal}'")

    def separator(self, closing: str) -> None:
        """Move past a comma, which may be left out before `closing` only."""
        if not self.accept(",") and not self.looks_at(closing):
            raise self.wrong(f"',' or '{closing}'")

    def take(self, pattern: re.Pattern[str], expected: str) -> re.Match[str]:
        """Move past what `pattern` matches; `expected` names it for the error."""
        match = pattern.match(self._text, self.here())
        if match is None:
            raise self.wrong(expected)
        self._place = match.end()
        return match

    def follows(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """What `pattern` matches right here, blanks not skipped; if anything, move past it."""
        match = pattern.match(self._text, self._place)
        self._place = match.end() if match else self._place
        return match

    def name(self, expected: str) -> str:
        """A name, plain or quoted."""
        return self.plain_or_string(self.take(_NAME, expected))

    def value_name(self) -> str:
        """The name of a value, behind its `%`."""
        return self.plain_or_string(self.take(_VALUE, "a value such as %x"))

    def plain_or_string(self, match: re.Match[str]) -> str:
        """The text of a match whose first group is a plain spelling and which ends in a string otherwise."""
        plain: str | None = match.group(1)
        if plain is not None:
            return plain
        start = match.start() + match.group().index('"')
        return self.decoded(match.string[start : match.end()], start)

    def string(self) -> str:
        """A quoted string."""
        match = self.take(STRING, 'a string such as "text"')
        return self.decoded(match.group(), match.start())

    def decoded(self, literal: str, start: int) -> str:
        """What a quoted string that begins at `start` spells."""
        try:
            return str(json.loads(literal))
        except ValueError:
            raise self.error(f"{literal} is not a string: expected the escapes of JSON", start) from None

    def decoded_bytes(self, literal: str, start: int) -> bytes:
        """What a string of bytes, `b"..."`, that begins at `start` spells."""
        try:
            return bytes(ast.literal_eval(literal))
        except (SyntaxError, ValueError):
            raise self.error(f"{literal} does not spell bytes: expected ASCII and \\x00 to \\xff", start) from None

    def integer(self, digits: str, start: int) -> int:
        """The integer that `digits`, which begin at `start`, spell."""
        try:
            return int(digits)
        except ValueError:  # Python refuses thousands of digits
            raise self.error(f"an integer of {len(digits)} digits is too long", start) from None

    def type(self) -> TensorType:
        """A type such as `float32[batch, 64]` or `sequence<float32[batch, 64]>`."""
        start, words = self.here(), []
        while (container := self.follows(_CONTAINER)) is not None:
            words.append(container.group(1))
            self.here()
        if len(words) > MOST_NESTED:
            raise self.error(f"{len(words)} containers in each other: expected at most {MOST_NESTED}", start)
        type_ = self._tensor_type()
        for word in reversed(words):
            self.expect(">")
            type_ = CONTAINERS[word](type_)
        return type_

    def _tensor_type(self) -> TensorType:
        match = self.take(_TYPE, "a type such as float32[batch, 64]")
        text = match.group()
        if text not in self._types:
            self._types[text] = self._parse_type(match)
        return self._types[text]

    def _parse_type(self, match: re.Match[str]) -> TensorType:
        name, sizes = match.groups()
        try:
            dtype = as_dtype(name)
        except DTypeError as error:
            raise self.error(str(error), match.start()) from None
        if sizes.strip() == "...":
            return TensorType(dtype, None)
        shape = []
        for offset, piece in _split(sizes):
            try:
                shape.append(parse_dim(piece))
            except ParseError as error:
                raise self.error(str(error), match.start(2) + offset) from None
        return TensorType(dtype, tuple(shape))

    def wrong(self, expected: str) -> ParseError:
        """The error for something else than `expected` at this place."""
        word = _WORD.match(self._text, self.here())
        found = f"'{word.group()}'" if word else "the end of the text"
        return self.error(f"expected {expected}, found {found}", self._place)

    def error(self, message: str, start: int) -> ParseError:
        """An error that begins with the line and column of `start`."""
        line = self._text.count("\n", 0, start) + 1
        column = start - self._text.rfind("\n", 0, start)
        return ParseError(f"line {line}, column {column}: {message}")


def _split(sizes: str) -> Iterator[tuple[int, str]]:
    """The dimensions in the brackets of a type, with their offsets; a comma in parentheses or quotes parts nothing."""
    if not sizes.strip():
        return
    depth, start, in_quotes = 0, 0, False
    for place, character in enumerate(sizes):
        if character == "`":
            in_quotes = not in_quotes
        elif not in_quotes:
            depth += (character == "(") - (character == ")")
            if character == "," and depth == 0:
                yield start, sizes[start:place]
                start = place + 1
    yield start, sizes[start:]
