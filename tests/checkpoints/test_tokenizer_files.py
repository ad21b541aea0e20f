"""Which files make a tokenizer, and what is said when they are damaged or contradict one another.

That the ids are those of transformers is shown in `tests/test_tokenizer.py`.
"""

import json
from pathlib import Path

import pytest

from tfgraph.errors import CheckpointError
from tfgraph.tokenizer import Tokenizer

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "cat"]


def _vocab_folder(folder: Path, *, pieces=PIECES, **settings_given) -> Path:
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    if settings_given:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings_given), encoding="utf-8")
    return folder


def test_special_tokens_map_fills_what_the_settings_leave_open(tmp_path):
    folder = _vocab_folder(tmp_path, pieces=["<pad>", "<unk>", "<s>", "</s>", "the"], unk_token="<unk>", sep_token=None)
    content = {"sep_token": "</s>", "cls_token": {"content": "<s>"}, "pad_token": "<pad>", "mask_token": "[MASK]"}
    (folder / "special_tokens_map.json").write_text(json.dumps(content))
    tokenizer = Tokenizer.load(folder)
    assert tokenizer.encode(["the x"])["input_ids"].tolist() == [[2, 4, 1, 3]]
    assert tokenizer.special_tokens == {
        "unk_token": "<unk>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "cls_token": "<s>",
    }


def test_added_tokens_file(tmp_path):
    folder = _vocab_folder(tmp_path)
    (folder / "added_tokens.json").write_text(json.dumps({"<b>": len(PIECES) + 1, "<a>": len(PIECES)}))
    ids = Tokenizer.load(folder).encode(["the<b>cat<a>"])["input_ids"][0].tolist()
    assert ids[1:-1] == [PIECES.index("the"), len(PIECES) + 1, PIECES.index("cat"), len(PIECES)]
    for wrong in ({"<a>": 3}, {"<a>": "x"}):
        (folder / "added_tokens.json").write_text(json.dumps(wrong))
        with pytest.raises(CheckpointError, match=r"added_tokens\.json"):
            Tokenizer.load(folder)


def test_windows_line_ends_and_last_line_without_one(tmp_path):
    (tmp_path / "vocab.txt").write_bytes("\r\n".join([*PIECES, "last"]).encode())
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.encode(["cat last"])["input_ids"][0].tolist() == [
        PIECES.index("[CLS]"),
        PIECES.index("cat"),
        len(PIECES),
        PIECES.index("[SEP]"),
    ]


def test_folder_without_a_tokenizer(tmp_path):
    with pytest.raises(CheckpointError, match=r"has neither tokenizer\.json nor vocab\.txt") as caught:
        Tokenizer.load(tmp_path)
    assert "AutoTokenizer" in str(caught.value)
    with pytest.raises(CheckpointError, match="is not a folder"):
        Tokenizer.load(tmp_path / "absent")


@pytest.mark.parametrize("content", ["", "{}", '{"model": {"type": "WordPiece", "vocab": {', "[1]"])
def test_damaged_tokenizer_json(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(
        CheckpointError, match=r"tokenizer\.json is not a tokenizer that the `tokenizers` package reads"
    ):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"])
def test_damaged_settings(tmp_path, name):
    folder = _vocab_folder(tmp_path)
    (folder / name).write_text('{"pad_token": ')
    with pytest.raises(CheckpointError, match=f"{name} is not valid JSON"):
        Tokenizer.load(folder)


@pytest.mark.parametrize(
    "wrong",
    [
        {"do_lower_case": "yes"},
        {"strip_accents": 1},
        {"tokenize_chinese_chars": []},
        {"tokenizer_class": ["BertTokenizer"]},
        {"pad_token_type_id": "0"},
        {"additional_special_tokens": 3},
        {"extra_special_tokens": "[unused0]"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_setting_of_the_wrong_kind(tmp_path, wrong):
    key, value = next(iter(wrong.items()))
    with pytest.raises(CheckpointError, match=rf"{key} in .*tokenizer_config\.json must be a [\w ]+, found ") as caught:
        Tokenizer.load(_vocab_folder(tmp_path, **wrong))
    assert repr(value) in str(caught.value)


def test_special_token_of_the_wrong_kind(tmp_path):
    with pytest.raises(CheckpointError, match=r"pad_token .* must be a text, or an object with a 'content', found 7"):
        Tokenizer.load(_vocab_folder(tmp_path, pad_token=7))


def test_vocabulary_without_special_tokens_or_not_text(tmp_path):
    with pytest.raises(CheckpointError, match=r"lacks the special tokens \[SEP\], \[CLS\]"):
        Tokenizer.load(_vocab_folder(tmp_path, pieces=["[PAD]", "[UNK]", "the"]))
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe\n")
    with pytest.raises(CheckpointError, match=r"vocab\.txt is not UTF-8 text"):
        Tokenizer.load(tmp_path)


def test_tokenizer_json_without_a_token_for_unknown_words(tmp_path):
    vocabulary = '{"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", '
    vocabulary += '"max_input_chars_per_word": 100, "vocab": {"the": 0}}'
    (tmp_path / "tokenizer.json").write_text(f'{{"model": {vocabulary}}}')
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.encode(["the"])["input_ids"].tolist() == [[0]]
    with pytest.raises(CheckpointError, match=r"the tokenizer in .* cannot encode the texts: .*\[UNK\]"):
        tokenizer.encode(["cat"])
