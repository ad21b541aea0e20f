"""`tfgraph models`: the table, the search, JSON, and what is not found."""

from __future__ import annotations

import pytest

from tfgraph.models import configs


def rows(done):
    """The first cells of the table's rows, and each row's last two words."""
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith(" ")]
    return {words[0]: words[-2:] for words in lines if words and words[0] in configs}


def test_all_are_listed(cli):
    done = cli("models")
    assert done.code == 0
    found = rows(done)
    assert list(found) == list(configs)
    assert found["gpt3-175b"] == ["175", "B"]
    assert found["bert-base-uncased"] == ["109", "M"]


def test_a_row(cli):
    done = cli("models", "llama-3.1-8b")
    (row,) = [line for line in done.stdout.splitlines() if line.startswith(" llama")]
    assert row.split() == ["llama-3.1-8b", "llama", "32", "4,096", "32", "8", "131,072", "8.03", "B"]
    assert 'tfgraph.models.build("llama-3.1-8b")' in done.stdout


def test_both_stacks_of_an_encoder_decoder(cli):
    done = cli("models", "t5-base")
    assert "12 + 12" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["XLM"], ["xlm-roberta-base", "xlm-roberta-large"]),
        (["--family", "gpt2"], ["gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"]),
        (["large", "--family", "gpt2"], ["gpt2-large"]),
        (["gpt_pangu"], ["pangu-alpha-2.6b", "pangu-alpha-13b", "pangu-alpha-200b"]),
    ],
)
def test_some_are_listed(cli, arguments, names):
    assert list(rows(cli("models", *arguments))) == names
    assert [each["name"] for each in cli("models", *arguments, "--json").json["models"]] == names


def test_json_has_exact_numbers(cli):
    (found,) = cli("models", "t5-small", "--family", "t5", "--json").json["models"][:1]
    assert found == {
        "name": "t5-small",
        "family": "t5",
        "task": "seq2seq-lm",
        "layers": 6,
        "decoder_layers": 6,
        "hidden_size": 512,
        "heads": 8,
        "kv_heads": 8,
        "max_length": 512,
        "vocab_size": 32128,
        "parameters": 60506624,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lama9"], "no published model has 'lama9' in its name: the families are bert, "),
        (
            ["xl", "--family", "gptj"],
            "no published model of the family 'gptj' has 'xl' in its name: its models are gpt-j-6b",
        ),
        (["--family", "gpt-2"], "unknown family 'gpt-2': did you mean 'gpt2'?"),
    ],
)
def test_what_is_not_there_is_one_message(cli, arguments, message):
    for option in ([], ["--json"]):
        done = cli("models", *arguments, *option)
        assert done.code == 1 and message in done.stderr
        assert done.stdout == "" and "Traceback" not in done.stderr
