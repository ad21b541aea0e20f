"""Tokenizers out of GGUF metadata: the same ids as the tokenizer that the file was written from.

The oracles are tokenizers that transformers and `tokenizers` build by their own rules, and, for SentencePiece's BPE,
its rule written out: merge the best-scoring neighbours until none are left.
"""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gguf_files import write_small
from tfgraph.checkpoints.gguf import open_gguf_checkpoint
from tfgraph.errors import CheckpointError
from tfgraph.tokenizer import Tokenizer

CORPUS = [
    "The quick brown fox jumps over 13 lazy dogs; they don't mind, it's 2024 and we'll see.",
    "def forward(self, x):\n    return self.weight * x + 1.5e-3\n\n\nclass Model:\n\tpass  # Größe, naïve café",
    "I'M SURE you've SEEN 12345 camelCaseWords, HTTPServer  and   spaces \r\n\r\n über 价格是100元。",
    "  leading and trailing   ",
]
TEXTS = [*CORPUS, "unseen ẞ characters 🙂\u0301 e\u0301 and <|im_end|> 9876543210", "\n", " ", "a", "\t\n x"]
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


def read(folder, add, **options):
    return Tokenizer(open_gguf_checkpoint(write_small(folder / "model.gguf", add, **options)).tokenizer)


def ids(tokenizer, text):
    return tokenizer.encode([text])["input_ids"][0].tolist()


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


# --- SentencePiece ---

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def pieces():
    """Pieces and scores as a LLaMA vocabulary has them: controls, bytes, merged pieces by rank, then characters."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, normalizers, trainers

    backend = Backend(models.BPE())
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    words = [word for text in CORPUS for word in text.split(" ")]
    backend.train_from_iterator(words, trainers.BpeTrainer(vocab_size=260, show_progress=False))
    vocabulary = backend.get_vocab()
    learned = [piece for piece in sorted(vocabulary, key=vocabulary.get) if len(piece) > 1]
    characters = [piece for piece in vocabulary if len(piece) == 1]
    tokens = ["<unk>", "<s>", "</s>", *BYTES, *learned, *sorted(characters)]
    scores = [0.0] * 259 + [-float(rank) for rank in range(len(learned) + len(characters))]
    types = [2, 3, 3] + [6] * 256 + [1] * (len(learned) + len(characters))
    return tokens, scores, types


TOKENS, SCORES, TYPES = pieces()


def sentencepiece(change=lambda writer: None, tokens=TOKENS, scores=SCORES, types=TYPES):
    def add(writer):
        writer.add_tokenizer_model("llama")
        writer.add_token_list(tokens)
        writer.add_token_scores(scores)
        writer.add_token_types(types)
        writer.add_unk_token_id(0)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        change(writer)

    return add


def best_first(text, *, prefix=True):
    """SentencePiece's BPE, written out: the neighbours whose union scores best merge, the leftmost of equals."""
    score = {token: SCORES[number] for number, token in enumerate(TOKENS) if TYPES[number] == 1}
    number = {token: index for index, token in enumerate(TOKENS)}
    symbols = list(("▁" if prefix else "") + text.replace(" ", "▁"))
    while True:
        pairs = [(-score[a + b], place) for place, (a, b) in enumerate(pairwise(symbols)) if a + b in score]
        if not pairs:
            break
        place = min(pairs)[1]
        symbols[place : place + 2] = [symbols[place] + symbols[place + 1]]
    found = []
    for symbol in symbols:
        found += [number[symbol]] if symbol in score else [3 + byte for byte in symbol.encode()]
    return found


@pytest.fixture(scope="module")
def llama_tokenizer(tmp_path_factory):
    return read(tmp_path_factory.mktemp("spm"), sentencepiece())


@given(text=st.text(st.sampled_from([*"abcdefghinorstuy .,'\n12", "é", "元", "🙂"]), min_size=1, max_size=40))
def test_sentencepiece_ids_follow_its_rule(llama_tokenizer, text):
    assert ids(llama_tokenizer, text) == [1, *best_first(text)]


@pytest.mark.parametrize("text", TEXTS)
def test_sentencepiece_text_comes_back(llama_tokenizer, text):
    assert ids(llama_tokenizer, text) == [1, *best_first(text)]
    assert llama_tokenizer.decode(ids(llama_tokenizer, text)) == text


def test_sentencepiece_without_a_space_before_the_text(tmp_path):
    def change(writer):
        writer.add_add_space_prefix(False)
        writer.add_add_bos_token(False)

    tokenizer = read(tmp_path, sentencepiece(change))
    for text in TEXTS:
        assert ids(tokenizer, text) == best_first(text, prefix=False)
        assert tokenizer.decode(ids(tokenizer, text)) == text


def test_control_tokens_in_a_text(llama_tokenizer):
    assert ids(llama_tokenizer, "a</s>b") == [1, *best_first("a"), 2, *best_first("b")]
    assert llama_tokenizer.decode([1, *best_first("the"), 2]) == "the"
    assert llama_tokenizer.decode([1, *best_first("the"), 2], skip_special_tokens=False) == "<s> the</s>"


def test_control_tokens_of_phi_3_take_up_the_spaces_after_them(tmp_path, llama_tokenizer):
    def change(writer):
        sentencepiece()(writer)
        writer.add_uint32("phi3.rope.dimension_count", 8)

    phi3 = read(tmp_path, change, architecture="phi3")
    assert ids(phi3, "a</s>\n b") == [1, *best_first("a"), 2, *best_first("b")]
    assert ids(phi3, "<s>  b") == [1, 1, *best_first("  b")]
    assert ids(llama_tokenizer, "a</s>\n b") == [1, *best_first("a"), 2, *best_first("\n b")]


def test_spaces_that_users_defined(tmp_path):
    """Gemma's files hold runs of spaces as tokens, with real spaces in them."""
    tokens, scores, types = [*TOKENS, "   "], [*SCORES, -1000.0], [*TYPES, 4]
    tokenizer = read(tmp_path, sentencepiece(lambda w: w.add_add_space_prefix(False), tokens, scores, types))
    assert ids(tokenizer, "a   b") == [1, *best_first("a", prefix=False), len(TOKENS), *best_first("b", prefix=False)]
    assert tokenizer.decode(ids(tokenizer, "a   b")) == "a   b"


def test_without_bytes_what_is_unknown_is_one_token(tmp_path):
    tokens, scores, types = ([*given[:3], *given[259:]] for given in (TOKENS, SCORES, TYPES))
    tokenizer = read(tmp_path, sentencepiece(tokens=tokens, scores=scores, types=types))
    (begins, *known, unknown) = ids(tokenizer, "a🙂🙂")
    assert (begins, unknown) == (1, 0)
    assert "".join(tokens[number] for number in known) == "▁a"


def test_kinds_of_tokens_that_the_file_does_not_give(tmp_path):
    def add(writer):
        writer.add_tokenizer_model("llama")
        writer.add_token_list(TOKENS)
        writer.add_token_scores(SCORES)
        for role, number in (("unk", 0), ("bos", 1), ("eos", 2)):
            getattr(writer, f"add_{role}_token_id")(number)

    assert ids(read(tmp_path, add), "the</s>") == [1, *best_first("the"), 2]


# --- What is refused ---


def test_a_file_without_a_tokenizer(tmp_path):
    assert open_gguf_checkpoint(write_small(tmp_path / "model.gguf")).tokenizer is None
    path = write_small(tmp_path / "model.gguf", lambda writer: writer.add_tokenizer_model("no_vocab"))
    assert open_gguf_checkpoint(path).tokenizer is None


def _model(name):
    def add(writer):
        writer.add_tokenizer_model(name)
        writer.add_token_list(["a"])

    return add


def _byte_level(tokens=("a", "b", "ab"), merges=("a b",), pre="gpt-2", change=lambda writer: None):
    def add(writer):
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        if tokens is not None:
            writer.add_token_list(list(tokens))
        if merges is not None:
            writer.add_token_merges(list(merges))
        change(writer)

    return add


REFUSED = {
    "kind": (_model("rwkv"), "has a tokenizer of the kind 'rwkv'; those read from GGUF are gpt2, llama"),
    "no tokens": (_byte_level(tokens=None), "has no tokens under"),
    "splitting": (
        _byte_level(pre="viking"),
        "cuts text into words in the way 'viking', which is not known here; known",
    ),
    "no merges": (_byte_level(merges=None), "a byte-level tokenizer without 'tokenizer.ggml.merges'"),
    "merge of one": (_byte_level(merges=["ab"]), "a merge must be two tokens with a space between, found 'ab'"),
    "merge of three": (_byte_level(merges=["a b c"]), "two tokens with a space between, found 'a b c'"),
    "unknown merge": (_byte_level(merges=["a x"]), "a tokenizer that the `tokenizers` package refuses: .*x"),
    "role": (_byte_level(change=lambda w: w.add_eos_token_id(3)), "eos_token_id' is 3, and there are 3 tokens"),
    "kinds": (_byte_level(change=lambda w: w.add_token_types([1])), "has 3 tokens and the kinds of 1"),
    "kinds of text": (
        _byte_level(change=lambda w: w.add_array("tokenizer.ggml.token_type", ["a"])),
        "'tokenizer.ggml.token_type' must be a list of numbers, found",
    ),
    "no scores": (_model("llama"), "has 1 tokens and the scores of none"),
    "tokens": (
        lambda w: (w.add_tokenizer_model("gpt2"), w.add_array("tokenizer.ggml.tokens", [1, 2])),
        "'tokenizer.ggml.tokens' must be a list of texts",
    ),
    "flag": (
        _byte_level(change=lambda w: w.add_uint32("tokenizer.ggml.add_bos_token", 1)),
        "add_bos_token' must be true or false, found 1",
    ),
    "model": (lambda w: w.add_uint32("tokenizer.ggml.model", 1), "'tokenizer.ggml.model' must be a text, found 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path, case):
    add, message = REFUSED[case]
    checkpoint = open_gguf_checkpoint(write_small(tmp_path / "model.gguf", add))  # the weights can be read all the same
    with pytest.raises(CheckpointError, match=message) as caught:
        _ = checkpoint.tokenizer
    assert str(tmp_path) in str(caught.value)
