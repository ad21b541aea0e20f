"""`tfgraph generate`: streamed text, several prompts, JSON, wrong options."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tfgraph as tg
from tests.models.parity import random_model, save
from tests.tiny_checkpoint import WORDS
from tfgraph.backends.onnxruntime.fixed_cache import FixedCache


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of a small GPT-2 whose tokens are words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<pad>", "<end>", "<unk>", *WORDS]
    settings = {"vocab_size": len(words), "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
    model = random_model("GPT2LMHeadModel", **settings, bos_token_id=1, eos_token_id=1, pad_token_id=0)
    folder = save(model, tmp_path_factory.mktemp("checkpoint"))
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    target = tmp_path_factory.mktemp("export")
    tg.export(tg.load(folder), target)
    return target


def continuation(out: Path, prompt: str, **settings: object) -> str:
    text = tg.Generator(out).generate(prompt, **settings)[0].text
    assert text
    return text


def test_a_prompt_and_its_continuation(cli, out):
    done = cli("generate", out, "--prompt", "the cat sat", "--max-new-tokens", 6)
    assert done.code == 0, done.stderr
    assert done.stdout == f"the cat sat{continuation(out, 'the cat sat', max_new_tokens=6)}\n"
    assert "tokens in" in done.stderr


def test_several_prompts(cli, out):
    done = cli("generate", out, "--prompt", "the cat", "--prompt", "a dog runs", "--max-new-tokens", 4)
    assert done.stdout.splitlines() == [
        f"{prompt}{continuation(out, prompt, max_new_tokens=4)}" for prompt in ("the cat", "a dog runs")
    ]


def test_beams(cli, out):
    done = cli("generate", out, "--prompt", "the cat", "--max-new-tokens", 4, "--beams", 3, "--results", 2)
    results = tg.Generator(out).generate("the cat", max_new_tokens=4, num_beams=3, num_return_sequences=2)
    assert done.stdout.splitlines() == [f"the cat{result.text}  ({result.score:.3f})" for result in results]


def test_sampling_options_sample(cli, out):
    done = cli("generate", out, "--prompt", "the cat", "--max-new-tokens", 8, "--top-k", 5, "--seed", 3)
    drawn = continuation(out, "the cat", max_new_tokens=8, do_sample=True, top_k=5, seed=3)
    assert done.stdout == f"the cat{drawn}\n"
    assert drawn != continuation(out, "the cat", max_new_tokens=8)


def test_json(cli, out):
    found = cli("generate", out, "--prompt", "the cat", "--max-new-tokens", 3, "--logprobs", 2, "--json").json
    (result,) = found["results"]
    assert result["prompt"] == "the cat"
    assert len(result["token_ids"]) == 3
    assert result["finish_reason"] == "length"
    assert [len(each["top"]) for each in result["logprobs"]] == [2, 2, 2]


def test_stop_strings(cli, out):
    whole = continuation(out, "the cat", max_new_tokens=8).split()
    done = cli("generate", out, "--prompt", "the cat", "--max-new-tokens", 8, "--stop", whole[2])
    assert done.stdout.split()[2:] == whole[:2]


def test_what_the_checkpoint_asks_for_and_is_not_done_is_said(cli, out, tmp_path):
    copy = with_generation_config(out, tmp_path / "copy", suppress_tokens=[4])
    assert "suppress_tokens=[4]" in cli("generate", copy, "--prompt", "the cat", "--max-new-tokens", 1).stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--max-new-tokens", 0), "max_new_tokens must be an integer from 1"),
        (("--temperature", -1), "temperature"),
        (("--sample", "--beams", 2), "do_sample"),
        (("--prompt", ""), "prompt"),
        (("--logprobs", 2), "--logprobs has no effect without --json"),
        (("--stop", ""), "stop_strings must be texts that are not empty"),
    ],
)
def test_wrong_options(cli, out, options, message):
    done = cli("generate", out, "--prompt", "the cat", *options)
    assert done.code == 1
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("prompt", ["the\tcat\n\n  sat ", "[bold]cat[/bold] :smile:", "日本 🎉 e\u0301 the"])
def test_text_is_printed_as_it_is(prompt, cli, out):
    for prompts in ([prompt], [prompt, prompt]):
        options = [word for each in prompts for word in ("--prompt", each)]
        done = cli("generate", out, *options, "--max-new-tokens", 2)
        assert done.stdout == f"{prompt}{continuation(out, prompt, max_new_tokens=2)}\n" * len(prompts)


def test_a_terminal_is_not_steered_by_a_text():
    from io import StringIO

    from rich.console import Console

    from tfgraph.cli.console import print_text

    file = StringIO()
    print_text(Console(file=file, force_terminal=True, color_system=None), "a\x1b[2J\x07\r\x9b1mb\tc\n")
    assert file.getvalue() == "a[2J1mb\tc\n"


def with_generation_config(out: Path, copy: Path, **changes: object) -> Path:
    shutil.copytree(out, copy)
    config = json.loads((copy / "generation_config.json").read_text())
    (copy / "generation_config.json").write_text(json.dumps({**config, **changes}))
    return copy


def test_the_checkpoint_s_settings_are_followed(cli, out, tmp_path):
    beams = with_generation_config(out, tmp_path / "beams", num_beams=3, max_new_tokens=3)
    done = cli("generate", beams, "--prompt", "the cat")
    (result,) = tg.Generator(out).generate("the cat", max_new_tokens=3, num_beams=3)
    assert done.code == 0, done.stderr
    assert done.stdout == f"the cat{result.text}  ({result.score:.3f})\n"
    assert "3 tokens in" in done.stderr


@pytest.fixture
def interrupted_at(monkeypatch):
    """`interrupted_at(3)`: Ctrl-C is pressed in the third run of the model."""

    def interrupt(*numbers):
        runs, run = iter(range(1, 10**6)), FixedCache.run

        def pressing(cache, inputs):
            if next(runs) in numbers:
                signal.raise_signal(signal.SIGINT)
            return run(cache, inputs)

        monkeypatch.setattr(FixedCache, "run", pressing)

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield interrupt
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, previous)


def test_an_interruption_ends_the_answer(cli, out, interrupted_at):
    expected = continuation(out, "the cat", max_new_tokens=3)
    interrupted_at(3)
    done = cli("generate", out, "--prompt", "the cat", "--max-new-tokens", 40)
    assert done.code == 130
    assert done.stdout == f"the cat{expected}\n"
    assert done.stderr.splitlines()[-1] == "error: interrupted"


def test_an_interruption_of_several_prompts(cli, out, interrupted_at):
    interrupted_at(3)
    done = cli("generate", out, "--prompt", "the cat", "--prompt", "a dog", "--max-new-tokens", 40)
    assert done.code == 130
    first, second = done.stdout.splitlines()
    assert first.startswith("the cat ")
    assert second.startswith("a dog ")


def test_an_interruption_leaves_json_whole(cli, out, interrupted_at):
    interrupted_at(2)
    done = cli("generate", out, "--prompt", "the cat", "--max-new-tokens", 40, "--json")
    assert done.code == 130
    (result,) = json.loads(done.stdout)["results"]
    assert (result["finish_reason"], len(result["token_ids"])) == ("cancelled", 2)


def test_a_second_interruption_stops_at_once(cli, out, interrupted_at, monkeypatch):
    monkeypatch.setattr("tfgraph.generation.decode_loop._take", lambda *_: signal.raise_signal(signal.SIGINT))
    interrupted_at(1)
    done = cli("generate", out, "--prompt", "the cat", "--max-new-tokens", 40)
    assert done.code == 130
    assert done.stdout == ""
    assert done.stderr == "error: interrupted\n"


def test_what_was_held_back_is_printed_when_interrupted(cli, out, interrupted_at):
    """A stop string that had only begun."""
    whole = continuation(out, "the cat", max_new_tokens=3)
    interrupted_at(3)
    stop = f"{whole.split()[-1]} never"
    done = cli("generate", out, "--prompt", "the cat", "--max-new-tokens", 40, "--stop", stop)
    assert done.stdout == f"the cat{whole}\n"


def test_a_closed_pipe(out):
    arguments = ["generate", str(out), "--prompt", "the cat", "--prompt", "a dog", "--max-new-tokens", "3"]
    command = [sys.executable, "-c", "from tfgraph.cli import main; main()", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    assert process.returncode != 0


def test_an_export_for_another_task(cli, exported):
    done = cli("generate", exported(), "--prompt", "the cat")
    assert done.code == 1
    assert 'export the checkpoint with task="text-generation"' in done.stderr


def test_run_refers_to_generate(cli, out):
    done = cli("run", out, "--text", "the cat")
    assert done.code == 1
    assert "tfgraph generate" in done.stderr
