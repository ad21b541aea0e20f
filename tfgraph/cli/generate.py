"""`tfgraph generate`: prompts continued by an exported model, streamed to the terminal."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from tfgraph.cli.console import JsonOption, StartUpCacheOption, print_json, print_text, stderr, stdout
from tfgraph.cli.interrupts import stopping_at_interrupt

if TYPE_CHECKING:
    from tfgraph.generation import GeneratedToken, Generation


def generate_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder of an export for text generation.")],
    prompt: Annotated[list[str], typer.Option(help="What to continue; may be given several times.")],
    max_new_tokens: Annotated[int | None, typer.Option(help="The most tokens to generate; 128 if none says.")] = None,
    sample: Annotated[
        bool | None, typer.Option("--sample/--greedy", help="Draw tokens at random, or take the likeliest.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Below 1 sharper, above 1 flatter; samples.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Sample among so many likeliest tokens.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Sample among the likeliest tokens of this probability.")] = None,
    min_p: Annotated[float | None, typer.Option(help="Leave out tokens this much less likely than the first.")] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="Above 1: what was said is less likely.")] = None,
    beams: Annotated[int | None, typer.Option(help="Beam search with so many beams; nothing is streamed.")] = None,
    length_penalty: Annotated[float | None, typer.Option(help="Of beam search: above 0 favours long texts.")] = None,
    results: Annotated[int | None, typer.Option(help="Results for each prompt, with sampling or beams.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be given several times.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same tokens.")] = None,
    logprobs: Annotated[int | None, typer.Option(help="With --json: so many likeliest tokens at each place.")] = None,
    cache: StartUpCacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Continue prompts with an exported model.

    What is not said here is as the checkpoint's generation_config.json says. The text of a single prompt appears as it
    is made. Ctrl-C ends the answers where they are.
    """
    from tfgraph.artefact import open as open_artefact
    from tfgraph.errors import InputError
    from tfgraph.generator import Generator

    if logprobs is not None and not as_json:
        raise InputError("--logprobs has no effect without --json: add --json, or leave --logprobs out")
    generator = Generator(open_artefact(out, cache=cache))
    given: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "do_sample": _samples(sample, temperature, top_k, top_p, min_p),
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "num_beams": beams,
        "length_penalty": length_penalty,
        "num_return_sequences": results,
        "stop_strings": stop or None,
        "seed": seed,
        "logprobs": logprobs,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if not as_json:
        for name, value in generator.not_followed.items():
            stderr().print(Text(f"The checkpoint asks for {name}={value!r}, which is not done here."), style="yellow")
    settings = generator.settings_for(**changes)
    shows = not as_json and len(prompt) == settings.num_beams == settings.num_return_sequences == 1
    shown = _Answer(stdout(), prompt[0]) if shows else None
    on_token = None if shown is None else shown.add
    start = time.perf_counter()
    with stopping_at_interrupt() as stopped:
        answers = generator.generate(prompt, on_token=on_token, cancelled=stopped, **changes)
    seconds = time.perf_counter() - start
    if as_json:
        print_json({"results": [_as_dict(answer, prompt) for answer in answers]})
    else:
        if shown is not None:
            shown.finish(answers[0])
        else:
            _print_all(stdout(), answers, prompt)
        num_tokens = sum(len(answer.token_ids) for answer in answers)
        stderr().print(f"{num_tokens} tokens in {seconds:.2f} s, {num_tokens / seconds:.1f} a second", style="dim")
    if stopped():
        raise KeyboardInterrupt


def _samples(sample: bool | None, *settings: object) -> bool | None:
    """Whether to sample: what was asked for; a setting that only sampling has asks for it too."""
    return True if sample is None and any(setting is not None for setting in settings) else sample


class _Answer:
    """A prompt and its continuation, printed as it is made."""

    def __init__(self, console: Console, prompt: str) -> None:
        self._console = console
        self._prompt = prompt
        self._length: int | None = None  # of what is printed of the continuation

    def add(self, token: GeneratedToken) -> None:
        """Print what a token adds; before the first, the prompt."""
        self._print(token.text)

    def finish(self, answer: Generation) -> None:
        """Print what was held back when the answer was stopped, and end the line."""
        self._print((answer.text or "")[self._length :])
        print_text(self._console, "\n")

    def _print(self, text: str) -> None:
        if self._length is None:
            print_text(self._console, self._prompt, "dim")
            self._length = 0
        print_text(self._console, text)
        self._length += len(text)


def _print_all(console: Console, answers: list[Generation], prompts: list[str]) -> None:
    """Each result under its prompt."""
    for answer in answers:
        print_text(console, prompts[answer.prompt], "dim")
        print_text(console, answer.text or "")
        print_text(console, "\n" if answer.score is None else f"  ({answer.score:.3f})\n", "dim")


def _as_dict(answer: Generation, prompts: list[str]) -> dict[str, Any]:
    return {**dataclasses.asdict(answer), "prompt": prompts[answer.prompt]}
