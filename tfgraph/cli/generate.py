"""`tfgraph generate`: prompts continued by an exported model, streamed to the terminal."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from tfgraph.cli.console import JsonOption, print_json, stderr, stdout

if TYPE_CHECKING:
    from tfgraph.generation import Generation
    from tfgraph.generator import Generator


def generate_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder of an export for text generation.")],
    prompt: Annotated[list[str], typer.Option(help="What to continue; may be given several times.")],
    max_new_tokens: Annotated[int, typer.Option(help="The most tokens to generate.")] = 128,
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
    as_json: JsonOption = False,
) -> None:
    """Continue prompts with an exported model.

    What is not said here is as the checkpoint's generation_config.json says. The text of a single prompt appears as it
    is made.
    """
    from tfgraph.generator import Generator

    generator = Generator(out)
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
    settings = {name: value for name, value in given.items() if value is not None}
    if as_json:
        print_json({"results": [_as_dict(result, prompt) for result in generator.generate(prompt, **settings)]})
        return
    for name, value in generator.not_followed.items():
        stderr().print(Text(f"The checkpoint asks for {name}={value!r}, which is not done here."), style="yellow")
    console = stdout()
    start = time.perf_counter()
    if len(prompt) == 1 and beams in (None, 1) and results in (None, 1):
        num_tokens = _stream(console, generator, prompt[0], settings)
    else:
        answers = generator.generate(prompt, **settings)
        num_tokens = sum(len(answer.token_ids) for answer in answers)
        _print_all(console, answers, prompt)
    seconds = time.perf_counter() - start
    stderr().print(f"{num_tokens} tokens in {seconds:.2f} s, {num_tokens / seconds:.1f} a second", style="dim")


def _samples(sample: bool | None, *settings: object) -> bool | None:
    """Whether to sample: what was asked for; a setting that only sampling has asks for it too."""
    return True if sample is None and any(setting is not None for setting in settings) else sample


def _stream(console: Console, generator: Generator, prompt: str, settings: dict[str, Any]) -> int:
    """Print a prompt and its continuation as it is made; the number of tokens."""
    console.print(Text(prompt, style="dim"), end="", soft_wrap=True)
    num_tokens = 0
    for token in generator.stream(prompt, **settings):
        num_tokens += 1
        console.print(Text(token.text), end="", soft_wrap=True)
    console.print()
    return num_tokens


def _print_all(console: Console, answers: list[Generation], prompts: list[str]) -> None:
    """Each result under its prompt."""
    for answer in answers:
        score = "" if answer.score is None else f"  ({answer.score:.3f})"
        console.print(Text.assemble((prompts[answer.prompt], "dim"), answer.text or "", (score, "dim")), soft_wrap=True)


def _as_dict(answer: Generation, prompts: list[str]) -> dict[str, Any]:
    return {**dataclasses.asdict(answer), "prompt": prompts[answer.prompt]}
