"""How text is cut into words before byte-level BPE merges their bytes, for each kind that `tokenizer.ggml.pre` names.

GGUF holds the kind's name alone; the rules are those that the models' own `tokenizer.json` published. Each is a list of
regular expressions, applied one after the other to the pieces that the one before left. Names that share a rule stand
together, as llama.cpp has them (src/llama-vocab.cpp). A kind that is not listed is refused: its text would be cut in
the wrong places, and the model would read other tokens than it learned.
"""

from __future__ import annotations

from typing import NamedTuple

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CASES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_AFTER_NUMBERS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = _CASES + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + _AFTER_NUMBERS
_QWEN2 = _CASES + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + _AFTER_NUMBERS
_QWEN35 = _CASES + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CAMEL_ENDS = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TEKKEN = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}|{_CAMEL_ENDS}"
_GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CASES}?|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CASES}?"
    rf"|\p{{N}}{{1,3}}|{_CAMEL_ENDS}"
)
_BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"  # noqa: RUF001 - the marks of several scripts


class Splitting(NamedTuple):
    """A rule.

    Attributes:
        patterns: regular expressions; what they match, and what lies between, becomes pieces.
        normal_form: whether text is brought into Unicode's normal form C first.
        whole_words: whether a word that is a token is taken as it is, even where merges lead elsewhere.
        begins: whether text begins with the token for its beginning, where the file does not say.
    """

    patterns: tuple[str, ...]
    normal_form: bool = False
    whole_words: bool = False
    begins: bool = False


def _named(names: str, splitting: Splitting) -> dict[str, Splitting]:
    return dict.fromkeys(names.split(), splitting)


SPLITTINGS: dict[str, Splitting] = {
    **_named("gpt-2 phi-2 mpt olmo jais roberta-bpe", Splitting((_GPT2,))),
    **_named("smollm starcoder refact", Splitting((r"\p{N}", _GPT2))),
    **_named("llama3 llama-v3 llama-bpe falcon3 pixtral", Splitting((_LLAMA3,), whole_words=True, begins=True)),
    **_named("dbrx smaug-bpe glm4 chatglm-bpe", Splitting((_LLAMA3,))),
    **_named("qwen2 deepseek-r1-qwen kormo megrez", Splitting((_QWEN2,), normal_form=True)),
    **_named("stablelm2", Splitting((_QWEN2,))),
    **_named("qwen35", Splitting((_QWEN35,), normal_form=True)),
    **_named("tekken", Splitting((_TEKKEN,), whole_words=True, begins=True)),
    **_named("gpt-4o llama4", Splitting((_GPT4O,), whole_words=True)),
    **_named("bloom gpt3-finnish poro-chat", Splitting((_BLOOM,))),
}
"""`tokenizer.ggml.pre` -> its rule."""

USUAL_SPLITTINGS = {
    "gpt2": "gpt-2",
    "gptneox": "gpt-2",
    "phi2": "gpt-2",
    "bloom": "bloom",
    "qwen2": "qwen2",
    "qwen3": "qwen2",
}
"""Architecture -> the rule of all its models, for files of before April 2024, which do not name one."""
