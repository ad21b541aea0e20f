"""Generation settings out of a checkpoint's `generation_config.json`, or a `config.json` of before there was one.

Finding and parsing the file is in `tfgraph.checkpoints`; here its object becomes `GenerationSettings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tfgraph.generation.settings import BEAMS_ONLY, SAMPLING_ONLY, GenerationSettings

_FOLLOWED: Final = (
    *("max_new_tokens", "min_new_tokens", "do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty"),
    *("no_repeat_ngram_size", "num_beams", "length_penalty", "early_stopping", "num_return_sequences"),
    *("eos_token_id", "pad_token_id", "forced_bos_token_id", "forced_eos_token_id", "stop_strings"),
)
# What else changes the tokens that transformers generates, with the values that have no effect.
_NOT_FOLLOWED: Final[dict[str, tuple[object, ...]]] = {
    "bad_words_ids": ([],),
    "begin_suppress_tokens": ([],),
    "constraints": ([],),
    "diversity_penalty": (0,),
    "dola_layers": (),
    "encoder_no_repeat_ngram_size": (0,),
    "encoder_repetition_penalty": (1,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "exponential_decay_length_penalty": (),
    "force_words_ids": ([],),
    "guidance_scale": (1,),
    "min_length": (0,),
    "num_beam_groups": (1,),
    "penalty_alpha": (0,),
    "renormalize_logits": (False,),
    "sequence_bias": ({}, []),
    "suppress_tokens": ([],),
    "top_h": (),
    "typical_p": (1,),
    "watermarking_config": (),
}


def settings_from_config(config: Mapping[str, Any], **overrides: Any) -> tuple[GenerationSettings, dict[str, object]]:
    """The settings that a checkpoint asks for, with `overrides` in place of the file's own.

    What the file says about sampling is left out where the outcome does not sample, and what it says about beams where
    there is one beam; asking for beams turns the file's sampling off, asking for sampling its beams. `max_length`,
    which counts the prompt, is not read. A missing `top_k` is all tokens, where transformers would take 50.

    Args:
        config: the object in the file; null is the same as absent.
        overrides: fields of `GenerationSettings`.

    Returns:
        The settings, and what the file asks for that they cannot express, such as `suppress_tokens`: name to value.

    Raises:
        InputError: a value is out of its range, or contradicts another one.
    """
    values = {name: config[name] for name in _FOLLOWED if config.get(name) is not None}
    if values.get("pad_token_id") == -1:  # how some checkpoints say that there is none
        del values["pad_token_id"]
    if overrides.get("do_sample"):
        values.pop("num_beams", None)
    elif overrides.get("num_beams", 1) != 1:
        values.pop("do_sample", None)
    values |= overrides
    unread: set[str] = set()
    if not values.get("do_sample"):
        unread |= set(SAMPLING_ONLY)
    if values.get("num_beams", 1) == 1:
        unread |= set(BEAMS_ONLY)
    values = {name: value for name, value in values.items() if name in overrides or name not in unread}
    not_followed = {
        name: config[name]
        for name, neutral in _NOT_FOLLOWED.items()
        if config.get(name) is not None and config[name] not in neutral
    }
    return GenerationSettings(**values), not_followed
