"""The command line as a whole: help, exit codes, errors, interruption, colours."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tfgraph as tg
from tfgraph.cli import answers
from tfgraph.errors import InputError

COMMANDS = ("export", "show", "run", "verify", "targets", "models")


def environment(repository: Path, **settings: str) -> dict[str, str]:
    """The environment of a process that runs the command line of the checkout."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    return {**inherited, "PYTHONPATH": str(repository), **settings}


def in_process(repository: Path, *arguments: object, **settings: str) -> subprocess.CompletedProcess[str]:
    """`python -m tfgraph ...`, its output piped."""
    command = [sys.executable, "-m", "tfgraph", *map(str, arguments)]
    return subprocess.run(
        command, cwd=repository, env=environment(repository, **settings), capture_output=True, text=True, timeout=100
    )


def test_version(cli):
    done = cli("--version")
    assert (done.code, done.stdout) == (0, f"tfgraph {tg.__version__}\n")


def test_help_lists_the_commands(cli):
    done = cli("--help")
    assert done.code == 0
    for command in COMMANDS:
        assert re.search(rf"^\W*{command} ", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(cli, command):
    for option in ("--help", "-h"):
        done = cli(command, option)
        assert done.code == 0 and f"tfgraph {command}" in done.stdout.replace("root", "tfgraph")
        assert "--json" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["exprot"], "Did you mean 'export'?"),
        (["export"], "CHECKPOINT"),
        (["show", "model.onnx", "--size", "seq"], "'seq' is not NAME=NUMBER, such as seq=128"),
        (["show", "model.onnx", "--size", "seq=-1"], "'seq=-1' is not NAME=NUMBER"),
        (["verify", "a", "b", "--cases", "0"], "--cases"),
        (["run", "out"], "give at least one --text, --pair or --file"),
        (["targets", "--colour"], "--colour"),
    ],
)
def test_wrong_usage_exits_with_2(cli, arguments, message):
    done = cli(*arguments)
    assert done.code == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_error_is_one_message_on_standard_error(cli, tmp_path):
    done = cli("run", tmp_path, "--text", "x")
    assert done.code == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {tmp_path} has no tfgraph.json: expected a folder")
    assert done.stderr.count("\n") == 1


def test_debugging_keeps_the_traceback(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("TFGRAPH_DEBUG", "1")
    with pytest.raises(tg.errors.ConfigError):
        cli("run", tmp_path, "--text", "x")
    monkeypatch.setenv("TFGRAPH_DEBUG", "0")
    assert cli("run", tmp_path, "--text", "x").code == 1


def test_markup_in_messages_is_printed_as_it_is(cli, exported, monkeypatch):
    def fail(*arguments: object) -> None:
        raise InputError("input 'x' has shape [bold]: [/nonsense]")

    monkeypatch.setattr(answers.Artefact, "encode", fail)
    done = cli("run", exported(), "--text", "x")
    assert done.stderr == "error: input 'x' has shape [bold]: [/nonsense]\n"


def test_an_interruption_exits_with_130(cli, exported, monkeypatch):
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(answers.Artefact, "encode", interrupt)
    done = cli("run", exported(), "--text", "x")
    assert (done.code, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


WAIT_WHILE_SAVING = """
import sys, time
from pathlib import Path
from tfgraph import compiler
from tfgraph.cli import main

ready = Path(sys.argv.pop())

def save(self, path, **options):
    path.write_bytes(b"half")
    ready.touch()
    time.sleep(60)

compiler.CompiledModel.save = save
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent another way")
def test_control_c_leaves_no_half_files(repository, checkpoint, tmp_path):
    arguments = [sys.executable, "-c", WAIT_WHILE_SAVING, "export", checkpoint, tmp_path / "out", tmp_path / "ready"]
    process = subprocess.Popen(
        arguments, cwd=repository, env=environment(repository), stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 50
    while not (tmp_path / "ready").exists():
        assert process.poll() is None and time.monotonic() < deadline, "the export ended, or never got there"
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (130, "error: interrupted\n")
    assert not (tmp_path / "out").exists()


def test_the_script_is_this_main(repository):
    import tomllib

    from tfgraph.cli import main

    scripts = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert scripts == {"tfgraph": "tfgraph.cli:main"} and callable(main)


def test_what_is_piped_has_neither_colours_nor_bars(repository, checkpoint, tmp_path):
    done = in_process(repository, "export", checkpoint, tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout and "LayerNormalization" in done.stdout
    failed = in_process(repository, "show", tmp_path / "nowhere")
    assert failed.returncode == 1 and failed.stderr.startswith("error: ") and "\x1b" not in failed.stderr


def test_an_output_that_lacks_characters(repository, exported):
    done = in_process(repository, "run", exported(), "--text", "größer 猫", PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and "gr??er" not in done.stderr
    assert "gr" in done.stdout and "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize(("settings", "red"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colours_unless_no_color_is_set(repository, tmp_path, settings, red):
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tfgraph", "show", str(tmp_path / "nowhere")],
        cwd=repository,
        env=environment(repository, TERM="xterm-256color", **settings),
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while chunk := _read(ours):
        shown += chunk
    os.close(ours)
    assert process.wait() == 1
    assert b"error: " in shown
    assert (b"31m" in shown) is red


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # the other side is closed
        return b""


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["show", "--help"]])
def test_help_loads_nothing_heavy(repository, arguments):
    code = (
        "import sys; from tfgraph.cli.app import app\n"
        f"try: app({arguments!r})\n"
        "except SystemExit: pass\n"
        "print(*(name for name in ('onnx', 'onnx_ir', 'onnxruntime', 'torch', 'tokenizers') if name in sys.modules),"
        " file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.strip() == ""
