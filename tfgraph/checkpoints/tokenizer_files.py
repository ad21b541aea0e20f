"""The tokenizer of a checkpoint folder: which files describe it, and the `tokenizers` object that they add up to.

`tokenizer.json` is a complete description and is preferred. Older BERT checkpoints have a `vocab.txt` only, for which
BERT's WordPiece pipeline (Devlin et al. 2018, the released `tokenization.py`) is put together here. Either way
`tokenizer_config.json` and `special_tokens_map.json` say which tokens are special. Encoding text is in
`tfgraph.tokenizer`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfgraph.checkpoints.json_file import read_json_object
from tfgraph.errors import CheckpointError

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

TOKENIZER_FILE = "tokenizer.json"
VOCABULARY_FILE = "vocab.txt"
SETTINGS_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"
_FILES = (
    TOKENIZER_FILE,
    SETTINGS_FILE,
    SPECIAL_TOKENS_FILE,
    ADDED_TOKENS_FILE,
    VOCABULARY_FILE,
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
)

_ROLES = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "bos_token", "eos_token")
_BERT_DEFAULTS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_BERT_CLASSES = frozenset(
    f"{model}Tokenizer{fast}"
    for model in ("Bert", "DistilBert", "MobileBert", "SqueezeBert", "ConvBert", "Electra")
    for fast in ("", "Fast")
)
# the setting in tokenizer_config.json -> the attribute of `tokenizers.normalizers.BertNormalizer`
_BERT_NORMALIZER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
_KINDS = {
    **dict.fromkeys(_BERT_NORMALIZER, bool),
    "tokenizer_class": str,
    "pad_token_type_id": int,
}
_LARGEST_LIMIT = 10**9  # "no limit" is written as 10**30


@dataclass(frozen=True)
class TokenizerParts:
    """What a folder says about its tokenizer.

    `backend` does not pad. `special_tokens` maps roles such as "pad_token" to tokens of the vocabulary.
    `max_length` is the longest input that the model takes, special tokens included, where the folder says so. `source`
    is where the tokenizer came from, and `files` are those that describe it. One that came out of a file with a whole
    model in it has none; `contents` are then the files that would describe it, name to text.
    """

    backend: Tokenizer
    special_tokens: dict[str, str]
    pad_id: int
    pad_type_id: int
    truncation_side: str
    max_length: int | None
    files: list[Path]
    source: Path
    contents: dict[str, str] = field(default_factory=dict)


def load_tokenizer_parts(folder: str | Path) -> TokenizerParts:
    """The tokenizer that a folder's files describe.

    Raises:
        CheckpointError: no tokenizer file in the folder, or one that is damaged or contradicts another.
    """
    folder = Path(folder)
    settings = _settings(folder)
    if (folder / TOKENIZER_FILE).is_file():
        backend = _read_backend(folder / TOKENIZER_FILE)
        if settings.get("tokenizer_class") in _BERT_CLASSES:
            _apply_bert_settings(backend, settings)
    elif (folder / VOCABULARY_FILE).is_file():
        settings = {**_BERT_DEFAULTS, **settings}
        backend = _bert_backend(folder, settings)
    else:
        found = "is not a folder" if not folder.is_dir() else f"has neither {TOKENIZER_FILE} nor {VOCABULARY_FILE}"
        raise CheckpointError(
            f"{folder} {found}: no tokenizer to read. With transformers, `AutoTokenizer.from_pretrained(...)` and then "
            f"`save_pretrained(folder)` write a {TOKENIZER_FILE}"
        )
    tokens = dict(_special_tokens(settings))
    _mark_special(backend, [*tokens.values(), *_extra_special_tokens(settings)])
    padding = backend.padding or {}
    backend.no_padding()
    special = {role: token.content for role, token in tokens.items() if backend.token_to_id(token.content) is not None}
    if "pad_token" not in special and backend.token_to_id(str(padding.get("pad_token"))) is not None:
        special["pad_token"] = str(padding["pad_token"])
    limit = settings.get("model_max_length")
    return TokenizerParts(
        backend=backend,
        special_tokens=special,
        # a model without a padding token masks the padded places all the same, so any token will do there
        pad_id=backend.token_to_id(special.get("pad_token", special.get("eos_token", ""))) or 0,
        pad_type_id=settings.get("pad_token_type_id", padding.get("pad_type_id", 0)),
        truncation_side="left" if settings.get("truncation_side") == "left" else "right",
        max_length=int(limit) if isinstance(limit, int | float) and 0 < limit < _LARGEST_LIMIT else None,
        files=[folder / name for name in _FILES if (folder / name).is_file()],
        source=folder,
    )


def _settings(folder: Path) -> dict[str, Any]:
    """`tokenizer_config.json`, with what it leaves open taken from `special_tokens_map.json`; both may be absent."""
    settings: dict[str, Any] = {}
    for name in (SPECIAL_TOKENS_FILE, SETTINGS_FILE):
        if (folder / name).is_file():
            found = read_json_object(folder / name, CheckpointError)
            settings.update({key: value for key, value in found.items() if value is not None})
    for key, kind in _KINDS.items():
        if key in settings and not isinstance(settings[key], kind):
            raise CheckpointError(
                f"{key} in {folder / SETTINGS_FILE} must be a {kind.__name__}, found {settings[key]!r}"
            )
    return settings


def _read_backend(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # `tokenizers` raises no narrower class
        raise CheckpointError(f"{path} is not a tokenizer that the `tokenizers` package reads: {error}") from error


def _apply_bert_settings(backend: Tokenizer, settings: dict[str, Any]) -> None:
    """Where the two files disagree on BERT's normalisation, `tokenizer_config.json` wins, as in transformers."""
    from tokenizers.normalizers import BertNormalizer

    if isinstance(backend.normalizer, BertNormalizer):
        for key, attribute in _BERT_NORMALIZER.items():
            if key in settings:
                setattr(backend.normalizer, attribute, settings[key])


def _bert_backend(folder: Path, settings: dict[str, Any]) -> Tokenizer:
    """BERT's pipeline: clean the text, split it at spaces and punctuation, then into the longest pieces there are."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    path = folder / VOCABULARY_FILE
    vocabulary = _read_vocabulary(path)
    tokens = {role: token.content for role, token in _special_tokens(settings)}
    needed = [tokens[role] for role in ("unk_token", "sep_token", "pad_token", "cls_token")]
    missing = [token for token in needed if token not in vocabulary]
    if missing:
        raise CheckpointError(
            f"{path} lacks the special {'token' if len(missing) == 1 else 'tokens'} {', '.join(missing)}: each must be "
            f"a line of it, or {SETTINGS_FILE} must give the names that it uses"
        )
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token=tokens["unk_token"]))
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
        strip_accents=settings.get("strip_accents"),  # None: only together with lower-casing
        lowercase=settings.get("do_lower_case", True),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    backend.post_processor = processors.BertProcessing(
        (tokens["sep_token"], vocabulary[tokens["sep_token"]]), (tokens["cls_token"], vocabulary[tokens["cls_token"]])
    )
    _add_tokens(backend, folder / ADDED_TOKENS_FILE)
    return backend


def _read_vocabulary(path: Path) -> dict[str, int]:
    """Token to id: one token a line, its id the number of the line, from 0."""
    try:
        with path.open(encoding="utf-8") as file:
            vocabulary = {line.rstrip("\n"): number for number, line in enumerate(file)}
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not UTF-8 text: {error}") from error
    return vocabulary


def _add_tokens(backend: Tokenizer, path: Path) -> None:
    """Add the tokens of `added_tokens.json`, whose ids must follow those of the vocabulary."""
    if not path.is_file():
        return
    added = read_json_object(path, CheckpointError)
    if not all(type(number) is int for number in added.values()):
        raise CheckpointError(f"{path} must map tokens to ids, found {added!r}")
    for token, number in sorted(added.items(), key=lambda item: item[1]):
        backend.add_tokens([token])
        found = backend.token_to_id(token)
        if found != number:
            raise CheckpointError(
                f"{path} gives {token!r} the id {number}, but after {VOCABULARY_FILE} it gets {found}: the two files "
                "are not of one tokenizer"
            )


def _special_tokens(settings: dict[str, Any]) -> Iterator[tuple[str, AddedToken]]:
    for role in _ROLES:
        if role in settings:
            yield role, _as_token(settings[role], role)


def _extra_special_tokens(settings: dict[str, Any]) -> list[AddedToken]:
    extra: list[AddedToken] = []
    for key in ("additional_special_tokens", "extra_special_tokens"):
        found = settings.get(key, [])
        if not isinstance(found, list | dict):
            raise CheckpointError(f"{key} in {SETTINGS_FILE} must be a list or an object of tokens, found {found!r}")
        extra += [_as_token(each, key) for each in (found.values() if isinstance(found, dict) else found)]
    return extra


def _as_token(given: object, role: str) -> AddedToken:
    """A token that a settings file writes as text, or as an object with its content and how it takes up spaces."""
    from tokenizers import AddedToken

    if isinstance(given, str):
        return AddedToken(given, special=True)
    if isinstance(given, dict) and isinstance(given.get("content"), str):
        flags = {key: bool(given.get(key, False)) for key in ("lstrip", "rstrip", "single_word", "normalized")}
        return AddedToken(given["content"], special=True, **flags)
    raise CheckpointError(
        f"{role} in {SETTINGS_FILE} or {SPECIAL_TOKENS_FILE} must be a text, or an object with a 'content', "
        f"found {given!r}"
    )


def _mark_special(backend: Tokenizer, tokens: list[AddedToken]) -> None:
    """Make the vocabulary's special tokens be found in text whole, and be left out when decoding."""
    marked = {token.content for token in backend.get_added_tokens_decoder().values() if token.special}
    backend.add_special_tokens(
        [token for token in tokens if token.content not in marked and backend.token_to_id(token.content) is not None]
    )
