"""The application: which commands there are, and what becomes of an error that one of them raises."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tfgraph.cli.accuracy import accuracy_command
from tfgraph.cli.bench import bench_app
from tfgraph.cli.console import print_error, tolerate_encodings
from tfgraph.cli.encode import encode_command
from tfgraph.cli.export import export_command
from tfgraph.cli.generate import generate_command
from tfgraph.cli.models import models_command
from tfgraph.cli.optimize import optimize_command
from tfgraph.cli.run import run_command
from tfgraph.cli.show import show_command
from tfgraph.cli.targets import targets_command
from tfgraph.cli.verify import verify_command
from tfgraph.errors import TFGraphError
from tfgraph.version import __version__

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class Commands(TyperGroup):
    """Runs a command; an error of the library becomes one message and the exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for. With TFGRAPH_DEBUG=1, errors keep their traceback."""
        tolerate_encodings()
        try:
            return super().invoke(ctx)
        except TFGraphError as error:
            if os.environ.get("TFGRAPH_DEBUG", "0") not in ("", "0"):
                raise
            print_error(str(error))
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            print_error("interrupted")
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Optimise Transformers as ONNX graphs, and run them.",
    epilog="Errors exit with 1, wrong usage with 2. TFGRAPH_DEBUG=1 shows where an error comes from.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tfgraph {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and exit.")
    ] = False,
) -> None:
    pass


app.command("export")(export_command)
app.command("optimize")(optimize_command)
app.command("show")(show_command)
app.command("run")(run_command)
app.command("encode")(encode_command)
app.command("generate")(generate_command)
app.command("verify")(verify_command)
app.command("accuracy")(accuracy_command)
app.command("targets")(targets_command)
app.command("models")(models_command)
app.add_typer(bench_app, name="bench")
