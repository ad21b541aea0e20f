"""`tfgraph run`: texts through an exported model. How the answers of each task are printed is in `answers.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tfgraph.cli.answers import answers_as_json, print_answers
from tfgraph.cli.console import JsonOption, StartUpCacheOption, print_json, stdout
from tfgraph.cli.text_file import read_text


def run_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder of an export.")],
    text: Annotated[list[str] | None, typer.Option(help="A text; may be given several times.")] = None,
    pair: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="TEXT TEXT", help="Two texts that belong together, such as a question and its context."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="A file with one text a line, or two with a tab between them; - is standard input."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many tokens to give for each mask.")] = 5,
    cache: StartUpCacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run an exported model on texts.

    Prints what the model is for: sentence embeddings and their similarities, labels, tokens for masks, or answers. For
    multiple choice, the texts are the choices.
    """
    from tfgraph.artefact import open as open_artefact

    texts: list[Any] = [*(text or ()), *([pair] if pair else ()), *(_read_lines(file) if file else ())]
    if not texts:
        raise typer.BadParameter("give at least one --text, --pair or --file", param_hint="--text")
    artefact = open_artefact(out, cache=cache)
    if as_json:
        print_json(answers_as_json(artefact, texts, top))
    else:
        print_answers(stdout(), artefact, texts, top)


def _read_lines(path: Path) -> list[Any]:
    """The texts of a file, and the pairs; empty lines are left out.

    Raises:
        InputError: the file cannot be read, or is not UTF-8.
    """
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    return [tuple(line.split("\t", 1)) if "\t" in line else line for line in lines]
