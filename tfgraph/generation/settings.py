"""`GenerationSettings`: how tokens are chosen, when to stop, and what to return; every value is checked here.

The names and meanings are those of transformers' `GenerationConfig`. What the settings do is in the other modules of
this package; reading them from a checkpoint's `generation_config.json` is in `config_file.py`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from tfgraph.errors import InputError

SAMPLING_ONLY: Final = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
"""Settings that only sampling reads, with the values that leave the distribution as it is."""
BEAMS_ONLY: Final[dict[str, object]] = {"length_penalty": 1.0, "early_stopping": False}
"""Settings that only beam search reads, with their defaults."""


class _Range(NamedTuple):
    """What values a setting takes: in words, and as a test."""

    expected: str
    holds: Callable[[float], bool]


_INTEGERS: Final = {
    "max_new_tokens": _Range("an integer from 1", lambda value: value >= 1),
    "min_new_tokens": _Range("an integer from 0", lambda value: value >= 0),
    "top_k": _Range("an integer from 1, or 0 for all tokens", lambda value: value >= 0),
    "no_repeat_ngram_size": _Range("an integer from 1, or 0 for none", lambda value: value >= 0),
    "num_beams": _Range("an integer from 1", lambda value: value >= 1),
    "num_return_sequences": _Range("an integer from 1", lambda value: value >= 1),
}
_INTEGERS_OR_NONE: Final = ("pad_token_id", "forced_bos_token_id", "forced_eos_token_id", "seed", "logprobs")
_NUMBERS: Final = {
    "temperature": _Range("a number from 0, which is greedy", lambda value: value >= 0),
    "top_p": _Range("a number from 0 to 1, which is all tokens", lambda value: 0 <= value <= 1),
    "min_p": _Range("a number from 0, which is all tokens, to 1", lambda value: 0 <= value <= 1),
    "repetition_penalty": _Range("a number above 0; 1 is no penalty", lambda value: value > 0),
    "length_penalty": _Range("a finite number", lambda value: True),
}
_FLAGS: Final = ("do_sample", "include_stop_string")


@dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """How tokens are chosen, when to stop, and what to return. The defaults are greedy decoding of up to 128 tokens.

    Scores go through the settings in transformers' order: `repetition_penalty`, `no_repeat_ngram_size`,
    `min_new_tokens`, `forced_bos_token_id`, `forced_eos_token_id`, and for sampling `temperature`, `top_k`, `top_p`,
    `min_p`.

    Attributes:
        max_new_tokens: the most tokens to generate for a prompt, the end token included; the model's context may
            allow fewer.
        min_new_tokens: the end tokens are ruled out until this many tokens are generated. Stop strings are not.
        do_sample: draw each token at random; otherwise the likeliest is taken (greedy, or beam search).
        temperature: scores are divided by it before sampling: below 1 sharper, above 1 flatter. 0 is greedy.
        top_k: sample among the `top_k` likeliest tokens, and those tied with the last of them; 0 is all.
        top_p: sample among the likeliest tokens that together reach this probability (nucleus sampling); 1 is all.
        min_p: sample among tokens at least this probable relative to the likeliest; 0 is all.
        repetition_penalty: scores of tokens that the prompt or the answer already holds are divided by it if
            positive, multiplied if negative (CTRL, Keskar et al. 2019); 1 is none.
        no_repeat_ngram_size: no run of this many tokens comes twice, prompt included; 0 is off.
        num_beams: hypotheses that beam search keeps for each prompt; 1 is no beam search.
        length_penalty: a finished beam's score is its log-probability divided by its number of generated tokens to
            this power: above 0 favours long answers, below 0 short ones.
        early_stopping: when beam search of a prompt ends. True: as soon as `num_beams` beams are finished. False:
            once the best running beam, at its present length, scores no better than the worst finished. "never":
            the same, but with the length that would flatter it most.
        num_return_sequences: results for each prompt; with beam search, the best of the finished beams.
        eos_token_id: the token that ends an answer, or several.
        pad_token_id: what fills up shorter prompts of a batch; the mask hides it, so any id does, and one that the
            model lacks counts as 0. Not given: the first end token, or 0.
        forced_bos_token_id: the first token generated after a prompt of a single token, as in the decoder of BART.
        forced_eos_token_id: the token at the last place that `max_new_tokens` leaves, as in the decoder of BART.
        stop_strings: an answer ends where its text comes to hold one of these; a stop string may span tokens.
        include_stop_string: the text keeps the stop string; otherwise it is cut before it.
        seed: draws are the same for the same seed, whatever other prompts are in the batch; None is a new one each
            time.
        logprobs: return the log-probability of each token and of this many likeliest alternatives, as the model gave
            them: before any setting changed the scores. None returns none.

    Raises:
        InputError: a value out of its range, or one that has no effect together with the others.
    """

    max_new_tokens: int = 128
    min_new_tokens: int = 0
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    num_return_sequences: int = 1
    eos_token_id: int | Sequence[int] | None = None
    pad_token_id: int | None = None
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | None = None
    stop_strings: str | Sequence[str] = ()
    include_stop_string: bool = False
    seed: int | None = None
    logprobs: int | None = None

    def __post_init__(self) -> None:
        for name, allowed in _INTEGERS.items():
            self._set(name, _integer(name, getattr(self, name), allowed))
        for name in _INTEGERS_OR_NONE:
            if (value := getattr(self, name)) is not None:
                self._set(name, _integer(name, value, _Range("an integer from 0, or None", lambda number: number >= 0)))
        for name, allowed in _NUMBERS.items():
            self._set(name, _number(name, getattr(self, name), allowed))
        for name in _FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} must be True or False, found {getattr(self, name)!r}")
        if not isinstance(self.early_stopping, bool) and self.early_stopping != "never":
            raise InputError(f"early_stopping must be True, False or 'never', found {self.early_stopping!r}")
        self._set("eos_token_id", _end_tokens(self.eos_token_id))
        self._set("stop_strings", _stop_strings(self.stop_strings))
        self._check_lengths()
        self._check_sampling()
        self._check_beams()

    @property
    def is_greedy(self) -> bool:
        """Whether each token is the likeliest one, not drawn at random."""
        return not self.do_sample or self.temperature == 0

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """The tokens that end an answer; none, one or several."""
        given = self.eos_token_id
        return () if given is None else (given,) if isinstance(given, int) else tuple(given)

    @property
    def stops(self) -> tuple[str, ...]:
        """The strings that end an answer; none, one or several."""
        return (self.stop_strings,) if isinstance(self.stop_strings, str) else tuple(self.stop_strings)

    @property
    def padding_id(self) -> int:
        """What fills up shorter prompts: `pad_token_id`, else the first end token, else 0."""
        return self.pad_token_id if self.pad_token_id is not None else (*self.eos_token_ids, 0)[0]

    def _set(self, name: str, value: object) -> None:
        """Keep a value in its plain Python type: an `np.int64` as int, a list as tuple."""
        object.__setattr__(self, name, value)

    def _check_lengths(self) -> None:
        if self.min_new_tokens > self.max_new_tokens:
            raise InputError(
                f"min_new_tokens={self.min_new_tokens} is more than max_new_tokens={self.max_new_tokens}: "
                "lower the first or raise the second"
            )

    def _check_sampling(self) -> None:
        if self.do_sample and self.num_beams > 1:
            raise InputError(
                f"do_sample=True with num_beams={self.num_beams}: beam search draws nothing at random; "
                "set do_sample=False, or num_beams=1"
            )
        for name, neutral in SAMPLING_ONLY.items():
            value = getattr(self, name)
            if not self.do_sample and value != neutral and (name, value) != ("temperature", 0):
                raise InputError(
                    f"{name}={value!r} has no effect without sampling: set do_sample=True, or leave {name} out"
                )
        if self.num_beams == 1 and self.is_greedy and self.num_return_sequences > 1:
            raise InputError(
                f"num_return_sequences={self.num_return_sequences} of greedy decoding would all be the same: "
                "set do_sample=True, or num_beams"
            )

    def _check_beams(self) -> None:
        if self.num_beams == 1:
            for name, default in BEAMS_ONLY.items():
                if (value := getattr(self, name)) != default:
                    raise InputError(
                        f"{name}={value!r} has no effect without beam search: set num_beams, or leave {name} out"
                    )
            return
        if self.num_return_sequences > self.num_beams:
            raise InputError(
                f"num_return_sequences={self.num_return_sequences} is more than num_beams={self.num_beams}: "
                "beam search finds as many results as it has beams"
            )
        if self.logprobs is not None:
            raise InputError(
                f"logprobs={self.logprobs} with num_beams={self.num_beams}: beam search returns a score for each "
                "result, not the log-probabilities of its tokens; leave logprobs out, or set num_beams=1"
            )


def _integer(name: str, value: object, allowed: _Range) -> int:
    """The value as int; NumPy's integers count, booleans do not."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or not allowed.holds(number):
        raise InputError(f"{name} must be {allowed.expected}, found {value!r}")
    return number


def _number(name: str, value: object, allowed: _Range) -> float:
    """The value as float; NaN and infinity are refused."""
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or not allowed.holds(number):
        raise InputError(f"{name} must be {allowed.expected}, found {value!r}")
    return number


def _end_tokens(given: object) -> int | tuple[int, ...] | None:
    allowed = _Range("a token id, an integer from 0, or several", lambda value: value >= 0)
    if given is None:
        return None
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        return _integer("eos_token_id", given, allowed)
    return tuple(_integer("eos_token_id", each, allowed) for each in given)


def _stop_strings(given: object) -> tuple[str, ...]:
    texts = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Sequence | set) else (given,)
    for text in texts:
        if not isinstance(text, str) or not text:
            raise InputError(f"stop_strings must be texts that are not empty, found {text!r}")
    return texts
