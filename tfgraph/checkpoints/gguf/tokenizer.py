"""The tokenizer in a GGUF file's metadata, put together with the `tokenizers` package.

Two kinds are read: `gpt2`, byte-level BPE with a list of merges, and `llama`, SentencePiece's BPE, whose merges follow
from the scores of its pieces (Kudo and Richardson 2018; a pair merges if the piece it makes exists, the piece with the
highest score first). How words are cut before byte-level BPE is in `tfgraph.checkpoints.gguf.splitting`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfgraph.checkpoints.gguf.settings import ARCHITECTURE_KEY, Settings
from tfgraph.checkpoints.gguf.splitting import SPLITTINGS, USUAL_SPLITTINGS, Splitting
from tfgraph.checkpoints.gguf.vocabulary import TokenKind, Vocabulary, read_vocabulary
from tfgraph.checkpoints.tokenizer_files import SETTINGS_FILE, TOKENIZER_FILE, TokenizerParts
from tfgraph.errors import CheckpointError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

KIND_KEY = "tokenizer.ggml.model"
_NO_TOKENIZER = ("none", "no_vocab")
_KEEP_SPACES = ("<unk>", "<s>", "<|endoftext|>")
_SPACE = "\u2581"  # what SentencePiece writes for a space


def gguf_tokenizer(metadata: Mapping[str, Any], path: Path) -> TokenizerParts | None:
    """The tokenizer that the metadata describes; None if it describes none.

    Its `contents` are the files that a Hugging Face folder would have for it: `tokenizer.json`, and
    `tokenizer_config.json` with the special tokens and the chat template.

    Raises:
        CheckpointError: a kind of tokenizer, or of cutting text into words, that is not known here, or parts that are
            missing, damaged or contradict one another.
    """
    settings = Settings(metadata, path)
    kind = settings.text(KIND_KEY)
    if kind is None or kind in _NO_TOKENIZER:
        return None
    builders = {"gpt2": _byte_level, "llama": _sentencepiece}
    if kind not in builders:
        raise CheckpointError(
            f"{path} has a tokenizer of the kind {kind!r}; those read from GGUF are {', '.join(builders)}. Put the "
            f"{TOKENIZER_FILE} of the model's Hugging Face folder beside the file"
        )
    vocabulary = read_vocabulary(metadata, path)
    try:
        backend = builders[kind](vocabulary, settings)
        _add_special(backend, vocabulary, strips=kind == "llama" and settings.text(ARCHITECTURE_KEY) == "phi3")
        contents = {
            TOKENIZER_FILE: backend.to_str(),
            SETTINGS_FILE: json.dumps(_tokenizer_config(vocabulary, settings), indent=2, ensure_ascii=False) + "\n",
        }
    except CheckpointError:
        raise
    except Exception as error:  # `tokenizers` raises no narrower class
        raise CheckpointError(f"{path} has a tokenizer that the `tokenizers` package refuses: {error}") from error
    special = {role: vocabulary.tokens[number] for role, number in vocabulary.roles.items()}
    return TokenizerParts(
        backend=backend,
        special_tokens=special,
        pad_id=vocabulary.roles.get("pad_token", vocabulary.roles.get("eos_token", 0)),
        pad_type_id=0,
        truncation_side="right",
        max_length=_max_length(settings),
        files=[],
        source=path,
        contents=contents,
    )


def merges_of(vocabulary: Vocabulary, scores: list[float] | list[int]) -> list[tuple[str, str]]:
    """The merges that SentencePiece's rule amounts to, the first to be made first.

    A piece can come of any two pieces that it is made of; of equal scores the piece with the lower id comes first.
    """
    normal = {
        token: number
        for number, (token, kind) in enumerate(zip(vocabulary.tokens, vocabulary.kinds, strict=True))
        if kind == TokenKind.NORMAL
    }
    merges: list[tuple[str, str]] = []
    for piece in sorted(normal, key=lambda piece: (-scores[normal[piece]], normal[piece])):
        halves = ((piece[:place], piece[place:]) for place in range(1, len(piece)))
        merges += [pair for pair in halves if pair[0] in normal and pair[1] in normal]
    return merges


def _byte_level(vocabulary: Vocabulary, settings: Settings) -> Tokenizer:
    """GPT-2's tokenizer: words of bytes, merged by rank."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    splitting = _splitting(settings)
    listed = settings.texts("tokenizer.ggml.merges")
    if listed is None:
        raise CheckpointError(f"{settings.path} has a byte-level tokenizer without 'tokenizer.ggml.merges'")
    merges: list[tuple[str, str]] = []
    for merge in listed:
        left, _, right = merge.partition(" ")
        if not left or not right or " " in right:
            raise CheckpointError(f"{settings.path}: a merge must be two tokens with a space between, found {merge!r}")
        merges.append((left, right))
    backend = Tokenizer(models.BPE(vocabulary.ids, merges, ignore_merges=splitting.whole_words))
    if splitting.normal_form:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in splitting.patterns),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    template = _template(vocabulary, settings, begins=splitting.begins)
    offsets = processors.ByteLevel(trim_offsets=False)
    backend.post_processor = processors.Sequence([offsets, template]) if template else offsets
    return backend


def _sentencepiece(vocabulary: Vocabulary, settings: Settings) -> Tokenizer:
    """LLaMA's tokenizer: spaces are characters, what has no piece becomes its UTF-8 bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    scores = settings.numbers("tokenizer.ggml.scores")
    if scores is None or len(scores) != len(vocabulary.tokens):
        found = "none" if scores is None else str(len(scores))
        raise CheckpointError(f"{settings.path} has {len(vocabulary.tokens)} tokens and the scores of {found}")
    ids = vocabulary.ids
    backend = Tokenizer(
        models.BPE(
            ids,
            merges_of(vocabulary, scores),
            unk_token=vocabulary.token("unk_token"),
            fuse_unk=True,
            byte_fallback=all(f"<0x{byte:02X}>" in ids for byte in range(256)),
        )
    )
    prefixed = settings.flag("tokenizer.ggml.add_space_prefix") is not False
    spaces = normalizers.Replace(" ", _SPACE)
    backend.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), spaces]) if prefixed else spaces
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace(_SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *([decoders.Strip(" ", 1, 0)] if prefixed else []),
        ]
    )
    template = _template(vocabulary, settings, begins=True)
    if template:
        backend.post_processor = template
    return backend


def _splitting(settings: Settings) -> Splitting:
    """The rule that the file names, or the one of all models of its architecture."""
    named = settings.text("tokenizer.ggml.pre")
    if named is None or named == "default":
        named = USUAL_SPLITTINGS.get(settings.text(ARCHITECTURE_KEY) or "", named)
    if named in SPLITTINGS:
        return SPLITTINGS[named]
    if named is None or named == "default":
        raise CheckpointError(
            f"{settings.path} does not say how its tokenizer cuts text into words ('tokenizer.ggml.pre'), and models "
            "of its architecture differ in it: convert the model again with a current llama.cpp"
        )
    raise CheckpointError(
        f"{settings.path}: its tokenizer cuts text into words in the way {named!r}, which is not known here; known are "
        f"{', '.join(SPLITTINGS)}. Put the {TOKENIZER_FILE} of the model's Hugging Face folder beside the file"
    )


def _template(vocabulary: Vocabulary, settings: Settings, *, begins: bool) -> Any:
    """What adds the tokens for beginning and end around a text; None if it adds neither. `begins` is the default."""
    from tokenizers.processors import TemplateProcessing

    first = settings.flag("tokenizer.ggml.add_bos_token")
    before = vocabulary.token("bos_token") if (begins if first is None else first) else None
    after = vocabulary.token("eos_token") if settings.flag("tokenizer.ggml.add_eos_token") else None
    if before is None and after is None:
        return None
    pieces = [piece for piece in (before, "$A", after) if piece is not None]
    of_second = [f"{'$B' if piece == '$A' else piece}:1" for piece in pieces]
    ids = vocabulary.ids
    used = [(token, ids[token]) for token in dict.fromkeys((before, after)) if token is not None]
    return TemplateProcessing(single=pieces, pair=[*pieces, *of_second], special_tokens=used)


def _add_special(backend: Tokenizer, vocabulary: Vocabulary, *, strips: bool) -> None:
    """Make tokens be found in text whole that are not made by merges: control tokens, and those that users defined.

    With `strips` a control token takes up the spaces after it, as Phi-3's do. Its file does not say so.
    """
    from tokenizers import AddedToken

    roles = [vocabulary.tokens[number] for number in vocabulary.roles.values()]
    control = [*vocabulary.of_kinds(TokenKind.CONTROL, TokenKind.UNKNOWN), *roles]
    backend.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False, rstrip=strips and token not in _KEEP_SPACES)
            for token in dict.fromkeys(control)
            if token
        ]
    )
    backend.add_tokens(
        [
            AddedToken(token, special=False, normalized=False)
            for token in vocabulary.of_kinds(TokenKind.USER_DEFINED)
            if token not in control
        ]
    )


def _tokenizer_config(vocabulary: Vocabulary, settings: Settings) -> dict[str, Any]:
    """The object of `tokenizer_config.json`."""
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        **{role: vocabulary.tokens[number] for role, number in vocabulary.roles.items()},
    }
    limit = _max_length(settings)
    if limit is not None:
        config["model_max_length"] = limit
    template = settings.text("tokenizer.chat_template")
    if template is not None:
        config["chat_template"] = template
    return config


def _max_length(settings: Settings) -> int | None:
    """The longest text that the model was made for, in tokens."""
    limit = settings.integer(f"{settings.text(ARCHITECTURE_KEY)}.context_length")
    return limit if limit is not None and limit > 0 else None
