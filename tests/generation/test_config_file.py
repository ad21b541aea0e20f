"""What a checkpoint's `generation_config.json` asks for, and what overrides of it make of the rest."""

from __future__ import annotations

import pytest
from transformers import GenerationConfig

from tfgraph.errors import InputError
from tfgraph.generation import GenerationSettings, settings_from_config

LLAMA = {
    "_from_model_config": True,
    "bos_token_id": 128000,
    "do_sample": True,
    "eos_token_id": [128001, 128008],
    "temperature": 0.6,
    "max_length": 4096,
    "top_p": 0.9,
    "transformers_version": "4.42.3",
}
BART = {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True, "no_repeat_ngram_size": 3, "min_length": 56}
BART |= {"forced_bos_token_id": 0, "forced_eos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1, "max_length": 142}


def test_sampling():
    found, not_followed = settings_from_config(LLAMA, seed=3)
    assert found == GenerationSettings(
        do_sample=True, eos_token_id=(128001, 128008), temperature=0.6, top_p=0.9, seed=3
    )
    assert not_followed == {}


def test_beams_and_what_is_not_followed():
    found, not_followed = settings_from_config(BART)
    assert found == GenerationSettings(
        num_beams=4, length_penalty=2.0, early_stopping=True, no_repeat_ngram_size=3, forced_bos_token_id=0,
        forced_eos_token_id=2, eos_token_id=2, pad_token_id=1,
    )  # fmt: skip
    assert not_followed == {"min_length": 56}


def test_greedy_by_override_leaves_out_how_to_sample():
    assert settings_from_config(LLAMA, do_sample=False)[0] == GenerationSettings(eos_token_id=(128001, 128008))


def test_beams_by_override_turn_sampling_off():
    found, _ = settings_from_config(LLAMA, num_beams=2)
    assert found == GenerationSettings(num_beams=2, eos_token_id=(128001, 128008))


def test_sampling_by_override_turns_beams_off():
    found, _ = settings_from_config(BART, do_sample=True, top_k=5)
    assert found.do_sample and found.num_beams == 1 and found.length_penalty == 1 and found.no_repeat_ngram_size == 3


def test_an_override_without_effect_is_still_refused():
    with pytest.raises(InputError, match=r"top_p=0\.5 has no effect without sampling"):
        settings_from_config(LLAMA, do_sample=False, top_p=0.5)


def test_a_wrong_value_in_the_file_is_refused():
    with pytest.raises(InputError, match="top_p must be a number from 0 to 1, which is all tokens, found 90"):
        settings_from_config({**LLAMA, "top_p": 90})


def test_everything_neutral_or_null_is_followed():
    neutral = {"typical_p": 1.0, "num_beam_groups": 1, "bad_words_ids": None, "suppress_tokens": [], "min_length": 0}
    assert settings_from_config(neutral) == (GenerationSettings(), {})
    written = GenerationConfig().to_dict()
    assert settings_from_config(written) == (GenerationSettings(), {})


def test_minus_1_is_no_padding_token():
    assert settings_from_config({"pad_token_id": -1})[0] == GenerationSettings()


def test_what_else_changes_the_tokens_is_reported():
    asked = {"typical_p": 0.8, "suppress_tokens": [3], "encoder_no_repeat_ngram_size": 2, "guidance_scale": 1.5}
    assert settings_from_config(asked)[1] == {name: asked[name] for name in sorted(asked)}
