"""Settings are refused with what was given, what was expected and what to do; good ones are kept in plain types."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tfgraph.errors import InputError
from tfgraph.generation import GenerationSettings


@pytest.mark.parametrize(
    "chosen, message",
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be an integer from 1, found 0"),
        ({"max_new_tokens": 2.0}, "max_new_tokens must be an integer from 1, found 2.0"),
        ({"max_new_tokens": True}, "max_new_tokens must be an integer from 1, found True"),
        ({"max_new_tokens": None}, "max_new_tokens must be an integer from 1, found None"),
        ({"min_new_tokens": -1}, "min_new_tokens must be an integer from 0, found -1"),
        (
            {"min_new_tokens": 9, "max_new_tokens": 5},
            "min_new_tokens=9 is more than max_new_tokens=5: lower the first or raise the second",
        ),
        ({"do_sample": 1}, "do_sample must be True or False, found 1"),
        ({"do_sample": True, "temperature": -0.5}, "temperature must be a number from 0, which is greedy, found -0.5"),
        ({"temperature": float("nan")}, "temperature must be a number from 0, which is greedy, found nan"),
        ({"temperature": float("inf")}, "temperature must be a number from 0, which is greedy, found inf"),
        ({"temperature": "1"}, "temperature must be a number from 0, which is greedy, found '1'"),
        ({"do_sample": True, "top_k": -1}, "top_k must be an integer from 1, or 0 for all tokens, found -1"),
        ({"do_sample": True, "top_p": 1.2}, "top_p must be a number from 0 to 1, which is all tokens, found 1.2"),
        ({"do_sample": True, "min_p": -0.1}, "min_p must be a number from 0, which is all tokens, to 1, found -0.1"),
        ({"repetition_penalty": 0}, "repetition_penalty must be a number above 0; 1 is no penalty, found 0"),
        ({"no_repeat_ngram_size": None}, "no_repeat_ngram_size must be an integer from 1, or 0 for none, found None"),
        ({"num_beams": 0}, "num_beams must be an integer from 1, found 0"),
        ({"num_beams": 2, "length_penalty": []}, r"length_penalty must be a finite number, found \[\]"),
        ({"num_beams": 2, "early_stopping": "yes"}, "early_stopping must be True, False or 'never', found 'yes'"),
        ({"num_beams": 2, "early_stopping": 1}, "early_stopping must be True, False or 'never', found 1"),
        ({"num_return_sequences": 0}, "num_return_sequences must be an integer from 1, found 0"),
        ({"eos_token_id": -1}, "eos_token_id must be a token id, an integer from 0, or several, found -1"),
        ({"eos_token_id": [1, "x"]}, "eos_token_id must be a token id, an integer from 0, or several, found 'x'"),
        ({"eos_token_id": "</s>"}, "eos_token_id must be a token id, an integer from 0, or several, found '</s>'"),
        ({"pad_token_id": -1}, "pad_token_id must be an integer from 0, or None, found -1"),
        ({"forced_eos_token_id": [2]}, r"forced_eos_token_id must be an integer from 0, or None, found \[2\]"),
        ({"stop_strings": ""}, "stop_strings must be texts that are not empty, found ''"),
        ({"stop_strings": ["a", 3]}, "stop_strings must be texts that are not empty, found 3"),
        ({"stop_strings": None}, "stop_strings must be texts that are not empty, found None"),
        ({"seed": -3}, "seed must be an integer from 0, or None, found -3"),
        ({"logprobs": 1.5}, "logprobs must be an integer from 0, or None, found 1.5"),
        (
            {"top_p": 0.9},
            "top_p=0.9 has no effect without sampling: set do_sample=True, or leave top_p out",
        ),
        (
            {"temperature": 0.7},
            "temperature=0.7 has no effect without sampling: set do_sample=True, or leave temperature out",
        ),
        (
            {"length_penalty": 2.0},
            "length_penalty=2.0 has no effect without beam search: set num_beams, or leave length_penalty out",
        ),
        (
            {"early_stopping": True},
            "early_stopping=True has no effect without beam search: set num_beams, or leave early_stopping out",
        ),
        ({"do_sample": True, "num_beams": 4}, "do_sample=True with num_beams=4: beam search draws nothing at random"),
        ({"num_return_sequences": 2}, "num_return_sequences=2 of greedy decoding would all be the same"),
        (
            {"num_return_sequences": 2, "do_sample": True, "temperature": 0},
            "num_return_sequences=2 of greedy decoding would all be the same",
        ),
        ({"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences=3 is more than num_beams=2"),
        ({"num_beams": 2, "logprobs": 0}, "logprobs=0 with num_beams=2: beam search returns a score for each result"),
    ],
    ids=str,
)
def test_bad_settings_are_refused(chosen, message):
    with pytest.raises(InputError, match=f"^{message}"):
        GenerationSettings(**chosen)


def test_values_are_kept_in_plain_types():
    given = GenerationSettings(
        max_new_tokens=np.int64(3), temperature=np.float32(0.5), do_sample=True, eos_token_id=np.array([1, 2]),
        stop_strings=["a", "b"],
    )  # fmt: skip
    assert type(given.max_new_tokens) is int and type(given.temperature) is float
    assert given.eos_token_id == given.eos_token_ids == (1, 2) and type(given.eos_token_ids[0]) is int
    assert given.stop_strings == given.stops == ("a", "b")
    assert hash(given) == hash(dataclasses.replace(given))


@pytest.mark.parametrize("given, expected", [(None, ()), (3, (3,)), ([3, 5], (3, 5)), ([], ())])
def test_end_tokens(given, expected):
    assert GenerationSettings(eos_token_id=given).eos_token_ids == expected


def test_what_fills_up_shorter_prompts():
    assert GenerationSettings().padding_id == 0
    assert GenerationSettings(eos_token_id=[4, 5]).padding_id == 4
    assert GenerationSettings(eos_token_id=4, pad_token_id=0).padding_id == 0


def test_temperature_0_is_greedy_however_it_is_asked_for():
    assert GenerationSettings(temperature=0).is_greedy
    assert GenerationSettings(do_sample=True, temperature=0, top_p=0.5).is_greedy
    assert not GenerationSettings(do_sample=True).is_greedy


def test_every_setting_is_documented():
    for field in dataclasses.fields(GenerationSettings):
        assert (
            f"\n        {field.name}: " in GenerationSettings.__doc__
            or f"\n    {field.name}: " in GenerationSettings.__doc__
        )
