"""`tfgraph generate`: streamed text, several prompts, JSON, wrong options."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tfgraph as tg
from tests.models.parity import random_model, save
from tests.tiny_checkpoint import WORDS


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
    import shutil

    copy = shutil.copytree(out, tmp_path / "copy")
    config = json.loads((copy / "generation_config.json").read_text())
    (copy / "generation_config.json").write_text(json.dumps({**config, "suppress_tokens": [4]}))
    assert "suppress_tokens=[4]" in cli("generate", copy, "--prompt", "the cat", "--max-new-tokens", 1).stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--max-new-tokens", 0), "max_new_tokens must be an integer from 1"),
        (("--temperature", -1), "temperature"),
        (("--sample", "--beams", 2), "do_sample"),
        (("--prompt", ""), "prompt"),
    ],
)
def test_wrong_options(cli, out, options, message):
    done = cli("generate", out, "--prompt", "the cat", *options)
    assert done.code == 1
    assert message in done.stderr


def test_an_export_for_another_task(cli, exported):
    done = cli("generate", exported(), "--prompt", "the cat")
    assert done.code == 1
    assert 'export the checkpoint with task="text-generation"' in done.stderr


def test_run_refers_to_generate(cli, out):
    done = cli("run", out, "--text", "the cat")
    assert done.code == 1
    assert "tfgraph generate" in done.stderr
