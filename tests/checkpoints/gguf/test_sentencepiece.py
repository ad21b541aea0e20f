"""SentencePiece's tokenizers out of GGUF metadata: the ids that its rule gives, written out here as it reads.

The rule of its BPE: of all neighbours whose union is a piece, merge those with the best score, until there are none.
"""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gguf_tokenizers import CORPUS, TEXTS, ids, read

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
