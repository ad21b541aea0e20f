"""Byte-level tokenizers out of GGUF metadata: the same ids as the tokenizer that the file was written from.

The oracles are tokenizers that transformers and `tokenizers` build by their own rules. SentencePiece's kind is in
`test_sentencepiece.py`.
"""

import json

import pytest

from tests.gguf_files import write_small
from tests.gguf_tokenizers import CORPUS, TEXTS, ids, read
from tfgraph.checkpoints.gguf import open_gguf_checkpoint
from tfgraph.errors import CheckpointError
from tfgraph.tokenizer import Tokenizer

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def trained(pre_tokenizer, normalizer=None, size=420):
    """A byte-level BPE tokenizer that learned its merges from `CORPUS`, cutting text with `pre_tokenizer`."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers, trainers

    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=CONTROL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return backend


def byte_level(backend, pre, change=lambda writer: None, *, tokens=None, types=None):
    """What adds the tokenizer to a GGUF file."""
    model = json.loads(backend.to_str())["model"]
    listed = tokens or sorted(model["vocab"], key=model["vocab"].get)

    def add(writer):
        writer.add_tokenizer_model("gpt2")
        if pre is not None:
            writer.add_tokenizer_pre(pre)
        writer.add_token_list(listed)
        writer.add_token_types(types or [3 if token in CONTROL else 1 for token in listed])
        writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]])
        writer.add_unk_token_id(0)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        change(writer)

    return add


def gpt2_pre_tokenizers():
    from tokenizers import pre_tokenizers

    byte = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return {
        "gpt-2": byte,
        "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte]),
    }


def published(pre):
    """How the models of a kind cut text, by the tokenizers that transformers builds for them; and their normalizer."""
    import transformers
    from tokenizers import Regex, normalizers, pre_tokenizers
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    if pre in gpt2_pre_tokenizers():
        return gpt2_pre_tokenizers()[pre], None
    if pre == "qwen2":
        backend = transformers.Qwen2Tokenizer(vocab={"a": 0}, merges=[]).backend_tokenizer
        return backend.pre_tokenizer, backend.normalizer
    if pre == "bloom":
        # the `pre_tokenizer` of BLOOM's tokenizer.json
        split = pre_tokenizers.Split(Regex(" ?[^(\\s|[.,!?…。，、।۔،])]+"), behavior="isolated")  # noqa: RUF001
    else:
        split = pre_tokenizers.Split(Regex(GGUF_PRE_TOKENIZER_SPLITS[pre]), behavior="isolated")
    byte = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([split, byte]), normalizers.NFC() if pre == "qwen35" else None


KINDS = ["gpt-2", "smollm", "llama-bpe", "smaug-bpe", "qwen2", "qwen35", "tekken", "gpt-4o", "bloom"]


@pytest.mark.parametrize("pre", KINDS)
def test_byte_level_ids_are_those_of_the_tokenizer_it_was_made_from(tmp_path, pre):
    backend = trained(*published(pre))
    tokenizer = read(tmp_path, byte_level(backend, pre, lambda writer: writer.add_add_bos_token(False)))
    for text in TEXTS:
        assert ids(tokenizer, text) == backend.encode(text).ids, text
        composed = backend.normalizer.normalize_str(text) if backend.normalizer else text
        assert tokenizer.decode(ids(tokenizer, text), skip_special_tokens=False) == composed


def test_kinds_cut_text_differently(tmp_path):
    """So that the test above can tell one kind from another."""
    text = "I'M ABC12345camelCase x\u0902y  (b,c)\r\n/z"
    kinds_of: dict[tuple[str, ...], list[str]] = {}
    for kind in KINDS:
        parts = open_gguf_checkpoint(
            write_small(tmp_path / "model.gguf", byte_level(trained(*published("gpt-2")), kind))
        ).tokenizer
        pieces = tuple(piece for piece, _ in parts.backend.pre_tokenizer.pre_tokenize_str(text))
        kinds_of.setdefault(pieces, []).append(kind)
    assert sorted(kinds_of.values()) == sorted(
        [kind] if kind != "llama-bpe" else [kind, "smaug-bpe"] for kind in KINDS if kind != "smaug-bpe"
    )


def test_a_word_that_is_a_token_is_taken_whole(tmp_path):
    """LLaMA 3's rule; without it "the" is made of "th" and "e" only where the merges lead there."""
    tokens = [*CONTROL, "t", "h", "e", "he", "the"]
    merges = {"model": {"vocab": {token: number for number, token in enumerate(tokens)}, "merges": ["h e"]}}

    class Backend:
        def to_str(self):
            return json.dumps(merges)

    whole = read(tmp_path, byte_level(Backend(), "llama-bpe"))
    merged = read(tmp_path, byte_level(Backend(), "smaug-bpe"))
    assert [token.text for token in whole.tokens(["the"])[0]] == ["<|im_start|>", "the"]
    assert [token.text for token in merged.tokens(["the"])[0]] == ["t", "he"]


@pytest.mark.parametrize(
    ("pre", "bos", "eos", "expected"),
    [
        ("gpt-2", None, None, ([], [])),
        ("llama-bpe", None, None, ([1], [])),
        ("llama-bpe", False, None, ([], [])),
        ("gpt-2", True, True, ([1], [2])),
        ("gpt-2", None, True, ([], [2])),
    ],
)
def test_tokens_around_a_text(tmp_path, pre, bos, eos, expected):
    def change(writer):
        if bos is not None:
            writer.add_add_bos_token(bos)
        if eos is not None:
            writer.add_add_eos_token(eos)

    tokenizer = read(tmp_path, byte_level(trained(*published("gpt-2")), pre, change))
    before, after = expected
    x, y = tokenizer.token_id("x"), tokenizer.token_id("y")
    assert ids(tokenizer, "x") == [*before, x, *after]
    pair = tokenizer.encode([("x", "y")])
    assert pair["input_ids"].tolist() == [[*before, x, *after, *before, y, *after]]


def test_roles_kinds_and_chat_template(tmp_path):
    backend = trained(*published("gpt-2"))

    def change(writer):
        writer.add_chat_template("{{ messages }}")
        writer.add_pad_token_id(0)

    tokenizer = read(tmp_path, byte_level(backend, "gpt-2", change))
    assert tokenizer.special_tokens == {
        "unk_token": "<|endoftext|>",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
    }
    assert (tokenizer.pad_id, tokenizer.max_length, tokenizer.files) == (0, 48, [])
    copies = tokenizer.copy_to(tmp_path / "copy")
    assert sorted(path.name for path in copies) == ["tokenizer.json", "tokenizer_config.json"]
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    settings = json.loads((tmp_path / "copy" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert settings["chat_template"] == "{{ messages }}"
    again = Tokenizer.load(tmp_path / "copy")
    assert again.special_tokens == tokenizer.special_tokens
    assert (again.pad_id, again.max_length, again.vocab_size) == (0, 48, tokenizer.vocab_size)
    for text in TEXTS:
        assert ids(again, text) == ids(tokenizer, text)
    assert again.decode([1, 65, 2]) == tokenizer.decode([1, 65, 2])


def test_transformers_reads_the_copy(tmp_path):
    from transformers import AutoTokenizer

    tokenizer = read(tmp_path, byte_level(trained(*published("gpt-2")), "llama-bpe"))
    tokenizer.copy_to(tmp_path / "copy")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "copy")
    for text in TEXTS:
        assert theirs(text)["input_ids"] == ids(tokenizer, text)
    assert (theirs.bos_token, theirs.eos_token) == ("<|im_start|>", "<|im_end|>")


def test_tokens_that_users_defined_are_whole_and_not_special(tmp_path):
    backend = trained(*published("gpt-2"))
    vocabulary = json.loads(backend.to_str())["model"]["vocab"]
    tokens = [*sorted(vocabulary, key=vocabulary.get), "<think>", "[PAD1]"]
    types = [3 if token in CONTROL else 1 for token in tokens[:-2]] + [4, 5]
    tokenizer = read(tmp_path, byte_level(backend, "gpt-2", tokens=tokens, types=types))
    number = len(tokens) - 2
    assert ids(tokenizer, "x<think>y")[1] == number
    assert tokenizer.decode([number]) == "<think>"
    assert len(ids(tokenizer, "[PAD1]")) > 1
    assert tokenizer.vocab_size == len(tokens)


@pytest.mark.parametrize("architecture", ["qwen2", "gptneox"])
def test_files_that_do_not_say_how_they_cut(tmp_path, architecture):
    backend = trained(*published("qwen2" if architecture == "qwen2" else "gpt-2"))
    add = byte_level(backend, "default" if architecture == "qwen2" else None)

    def change(writer):
        add(writer)
        writer.add_layer_norm_eps(1e-5)

    tokenizer = read(tmp_path, change, architecture=architecture)
    for text in TEXTS:
        assert ids(tokenizer, text) == backend.encode(text).ids
    with pytest.raises(CheckpointError, match=r"does not say how its tokenizer cuts text into words"):
        read(tmp_path, add)
