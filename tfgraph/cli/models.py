"""`tfgraph models`: the published sizes that can be declared by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from tfgraph.cli.console import JsonOption, print_json, stdout, table
from tfgraph.cli.units import count_text

if TYPE_CHECKING:
    from tfgraph.models.sizes import Size

_COLUMNS = ["Name", "Family", "Layers", "Hidden", "Heads", "KV heads", "Context", "Parameters"]


def models_command(
    search: Annotated[
        str, typer.Argument(metavar="SEARCH", help="Only those with this in their name or family.", show_default=False)
    ] = "",
    family: Annotated[
        str | None, typer.Option("--family", metavar="NAME", help="Only those of one family, such as gpt2.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the published models that can be declared by name, without a checkpoint.

    Encoders are counted with their pooler, all others with the matrix that predicts tokens; shared weights count once.
    --json has exact numbers.
    """
    from tfgraph.models.sizes import find_sizes

    sizes = find_sizes(search, family)
    if as_json:
        print_json({"models": [size.as_dict() for size in sizes]})
        return
    console = stdout()
    console.print(table("Published models", _COLUMNS, [_row(size) for size in sizes], left=2))
    console.print(Text(f'Declare one in Python with: tfgraph.models.build("{sizes[0].name}")'))


def _row(size: Size) -> list[str]:
    layers = f"{size.layers}" if size.decoder_layers is None else f"{size.layers} + {size.decoder_layers}"
    return [
        size.name,
        size.family,
        layers,
        f"{size.hidden_size:,}",
        f"{size.heads}",
        f"{size.kv_heads}",
        f"{size.max_length:,}",
        count_text(size.parameters).replace("G", "B"),  # billions, as sizes are spoken of
    ]
