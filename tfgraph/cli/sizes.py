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


def read_sizes(given: list[str] | None) -> dict[str, int]:
    """`["batch=1", "seq=128"]` as a dict.

    Raises:
        typer.BadParameter: one is not a name and a whole number.
    """
    sizes: dict[str, int] = {}
    for text in given or ():
        name, equals, number = text.partition("=")
        if not name or not equals or not number.strip().isdecimal():
            raise typer.BadParameter(f"{text!r} is not NAME=NUMBER, such as seq=128", param_hint="--size")
        sizes[name.strip()] = int(number)
    return sizes
