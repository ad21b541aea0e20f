"""`tfgraph encode`: a file of texts becomes a file of vectors."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from tfgraph.cli.console import JsonOption, StartUpCacheOption, print_json, stderr, stdout
from tfgraph.cli.text_file import read_text
from tfgraph.errors import ExportError, InputError

if TYPE_CHECKING:
    from tfgraph.ir.constant import Array


def encode_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The folder of an export for sentence-embedding.")],
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="One text a line; JSON lines if it ends in .jsonl; - is standard input."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.npy", help="The file to write: float32 [texts, features].")],
    field: Annotated[str, typer.Option(help="Of JSON lines that are objects, the field with the text.")] = "text",
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="The most tokens to run together, padding included.")
    ] = None,
    cache: StartUpCacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the sentence embedding of every text of a file.

    Row i is the vector of line i; empty lines count as texts without words. If it is stopped, an older FILE.npy stays
    as it was.
    """
    from tfgraph.artefact import MAX_TOKENS
    from tfgraph.artefact import open as open_artefact

    if out.suffix != ".npy":
        raise typer.BadParameter(f"{out} must end in .npy", param_hint="--out")
    artefact = open_artefact(model, cache=cache)
    texts = read_texts(file, field)
    start = time.perf_counter()
    with _progress(shown=not as_json) as on_progress:
        vectors = artefact.encode(texts, max_tokens=max_tokens or MAX_TOKENS, on_progress=on_progress)
    seconds = time.perf_counter() - start
    _save(out, vectors)
    if as_json:
        print_json({"out": str(out), "shape": list(vectors.shape), "seconds": round(seconds, 3)})
        return
    speed = f", {len(texts) / seconds:,.0f} a second" if texts and seconds else ""
    what = f"{len(texts):,} texts, {vectors.shape[1]} features each: {out}, in {seconds:.1f} s{speed}."
    stdout().print(Text(what), soft_wrap=True)


def read_texts(path: Path, field: str) -> list[str]:
    """The texts of a file, one for each line.

    Raises:
        InputError: the file cannot be read, is not UTF-8, or has a line that is no JSON, or has no such text.
    """
    content = read_text(path)
    lines = content.removesuffix("\n").split("\n") if content else []
    if path.suffix != ".jsonl":
        return lines
    return [_text_of(line, field, f"{path}, line {number}") for number, line in enumerate(lines, 1)]


def _text_of(line: str, field: str, where: str) -> str:
    """The text of a line of JSON: a string, or an object's field."""
    try:
        found = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where} is not JSON: {error}") from None
    if isinstance(found, dict):
        if field not in found:
            raise InputError(f"{where} has no field {field!r}, only {', '.join(found) or 'none'}: name it with --field")
        found = found[field]
    if not isinstance(found, str):
        raise InputError(f"{where} holds {found!r:.60}: expected a text, or an object with a text in {field!r}")
    return found


def _save(out: Path, vectors: Array) -> None:
    """Write the file beside its place, then move it there.

    Raises:
        ExportError: it cannot be written.
    """
    unfinished = out.with_name(f".{out.name}.partial")
    try:
        with unfinished.open("wb") as stream:
            np.save(stream, vectors)
        os.replace(unfinished, out)
    except OSError as error:
        raise ExportError(f"cannot write {out}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


@contextmanager
def _progress(shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar for the texts, on a terminal only."""
    console = stderr()
    if not shown or not console.is_terminal:
        yield None
        return
    columns = (TextColumn("encode"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task("encode", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
