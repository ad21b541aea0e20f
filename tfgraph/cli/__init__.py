"""The command line, `tfgraph`: one file a command, all gathered in `app.py`.

Nothing is computed here: commands read options, call the library, and print. Results go to standard output, progress
and errors to standard error. The exit code is 0 for success, 1 for an error or a difference, 2 for wrong usage, and 130
for an interruption.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line, and exit."""
    from tfgraph.cli.app import app

    app(prog_name="tfgraph")
