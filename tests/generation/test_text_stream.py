"""Text out of tokens: nothing half, nothing taken back, all of it in the end, cut where a stop string begins."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from tfgraph.generation import TextStream

BYTES = [bytes([number]) for number in range(256)]
WORDS = [b" the", b" cat", b"ing", b"\n", "é".encode(), "日".encode()[:2], "日".encode()[2:], " 😀".encode(), b"<end>"]
PIECES = BYTES + WORDS


def decode_bytes(token_ids):
    """A byte-level vocabulary: a token is any bytes, and what is no character is U+FFFD."""
    return b"".join(PIECES[token] for token in token_ids).decode(errors="replace")


def encode_bytes(text):
    return list(text.encode())


def run(stream, tokens):
    return [stream.push(token) for token in tokens] + [stream.finish()]


@settings(max_examples=300)
@given(st.lists(st.one_of(st.integers(0, len(PIECES) - 1), st.integers(256, len(PIECES) - 1)), max_size=20))
def test_the_pieces_are_the_text_whatever_the_bytes(tokens):
    stream = TextStream(decode_bytes)
    assert "".join(run(stream, tokens)) == stream.text == decode_bytes(tokens)


@given(st.text(max_size=20))
def test_only_whole_characters_are_handed_out(text):
    stream = TextStream(decode_bytes)
    tokens = encode_bytes(text)
    for place, token in enumerate(tokens):
        stream.push(token)
        whole = bytes(tokens[: place + 1]).decode(errors="ignore")
        assert stream.text == whole or "\ufffd" in whole
    stream.finish()
    assert stream.text == text


ALPHABET = st.text("ab\né", max_size=12)


@settings(max_examples=400)
@given(ALPHABET, st.lists(ALPHABET.filter(bool), min_size=1, max_size=3), st.data())
def test_the_cut_does_not_depend_on_the_tokens(text, stops, data):
    """Pieces of any length: what is handed out is the text up to the first stop string to be complete."""
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    first = min(ends, default=None)
    expected, kept = text, text
    if first is not None:
        stop = max((stop for stop in stops if text[:first].endswith(stop)), key=len)
        expected, kept = text[: first - len(stop)], text[:first]
    pieces, rest = [], text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        pieces.append(rest[:size])
        rest = rest[size:]
    for include, wanted in ((False, expected), (True, kept)):
        stream = TextStream(lambda ids: "".join(pieces[each] for each in ids), stops, include_stop_string=include)
        assert "".join(run(stream, range(len(pieces)))) == stream.text == wanted
        assert (stream.stopped_by is None) == (first is None)


def test_a_possible_beginning_of_a_stop_string_is_held_back():
    stream = TextStream(decode_bytes, ["\nUser:"])
    assert [stream.push(token) for token in b"a\nUs"] == ["a", "", "", ""]
    assert stream.push(ord("x")) == "\nUsx"
    assert stream.push(ord("\n")) == ""
    assert stream.finish() == "\n"
    assert stream.text == "a\nUsx\n"


def test_nothing_comes_after_a_stop_string():
    stream = TextStream(decode_bytes, ["b"])
    assert run(stream, b"abab") == ["a", "", "", "", ""]
    assert stream.stopped_by == "b"


def test_a_copy_goes_its_own_way():
    stream = TextStream(decode_bytes, ["xy"])
    stream.push(ord("x"))
    other = stream.copy()
    assert stream.push(ord("y")) == "" and stream.stopped_by == "xy"
    assert other.push(ord("z")) == "xz" and other.stopped_by is None


def sentencepiece():
    """A LLaMA-like tokenizer: spaces as ▁, the first of them dropped, bytes where there is no piece."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{number:02X}>" for number in range(256))]
    pieces += ["▁the", "▁cat", "s", "▁", "日", "▁▁"]
    tokenizer = Tokenizer(models.BPE({piece: place for place, piece in enumerate(pieces)}, [], byte_fallback=True))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens(["<s>", "</s>"])
    return tokenizer


@settings(max_examples=150)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["▁the", "▁cat", "s", "▁", "日", "▁▁", "</s>"]).map(lambda piece: [piece]),
            st.sampled_from("é😀日").map(lambda text: [f"<0x{byte:02X}>" for byte in text.encode()]),
        ),
        max_size=10,
    )
)
def test_sentencepiece(groups):
    tokenizer = sentencepiece()
    tokens = [tokenizer.token_to_id(piece) for group in groups for piece in group]
    stream = TextStream(tokenizer.decode)
    assert "".join(run(stream, tokens)) == tokenizer.decode(tokens)


@pytest.mark.parametrize("answer", [["▁cat", "s"], ["s", "▁the"], ["▁", "▁cat"], ["</s>", "▁cat"]])
def test_the_text_continues_that_of_the_prompt(answer):
    tokenizer = sentencepiece()
    prompt, answer = ([tokenizer.token_to_id(piece) for piece in pieces] for pieces in (["<s>", "▁the"], answer))
    stream = TextStream(tokenizer.decode, context=prompt)
    run(stream, answer)
    assert tokenizer.decode(prompt) + stream.text == tokenizer.decode(prompt + answer)
