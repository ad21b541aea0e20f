"""The option `--size NAME=NUMBER`, which several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

SizeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--size", metavar="NAME=NUMBER", help="A size that the model leaves open; may be given several times."
    ),
]


ShapeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--shape", metavar="NAME=NUMBER,…", help="For --precision auto: a shape to time; may be given several times."
    ),
]


def read_shapes(given: list[str] | None) -> list[dict[str, int]] | None:
    """`["batch=8,seq=128"]` as a list of dicts; None where there is none.

    Raises:
        typer.BadParameter: one is not names and whole numbers.
    """
    return [read_sizes(text.split(","), "--shape") for text in given] if given else None


def read_sizes(given: list[str] | None, option: str = "--size") -> dict[str, int]:
    """`["batch=1", "seq=128"]` as a dict.

    Raises:
        typer.BadParameter: one is not a name and a whole number.
    """
    sizes: dict[str, int] = {}
    for text in given or ():
        name, equals, number = text.partition("=")
        if not name or not equals or not number.strip().isdecimal():
            raise typer.BadParameter(f"{text!r} is not NAME=NUMBER, such as seq=128", param_hint=option)
        sizes[name.strip()] = int(number)
    return sizes
