"""Token for token what `generate` of transformers gives, on the same model, with prompts of unequal length."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.generation.hf_decoder import (
    EncoderDecoderDecoder,
    GPT2Decoder,
    left_padded,
    tiny_bart,
    tiny_t5,
    unpadded,
)
from tfgraph.generation import GenerationSettings, generate, settings_from_config

pytestmark = pytest.mark.usefixtures("one_thread")

PROMPTS = [[5, 9, 12], [3], [8, 8, 40, 2, 17]]
GREEDY = [
    {},
    {"repetition_penalty": 1.5},
    {"repetition_penalty": 0.7},
    {"no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 2},
    {"min_new_tokens": 5},
    {"forced_eos_token_id": 7},
    {"repetition_penalty": 1.2, "no_repeat_ngram_size": 3, "min_new_tokens": 2, "forced_eos_token_id": 11},
]
BEAMS = [
    {"num_beams": 2},
    {"num_beams": 4},
    {"num_beams": 4, "length_penalty": 0.0},
    {"num_beams": 4, "length_penalty": 2.0, "early_stopping": True},
    {"num_beams": 2, "length_penalty": -1.0, "early_stopping": True},
    {"num_beams": 4, "length_penalty": 0.5, "early_stopping": "never", "num_return_sequences": 4},
    {"num_beams": 2, "length_penalty": -0.5, "early_stopping": "never"},
    {"num_beams": 3, "num_return_sequences": 2, "min_new_tokens": 4},
    {"num_beams": 2, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    {"num_beams": 4, "forced_eos_token_id": 7, "num_return_sequences": 3},
]


def words(setting):
    return " ".join(f"{name}={value}" for name, value in setting.items()) or "plain"


@pytest.mark.parametrize("ends", [7, [7, 11, 30]], ids=["one end", "three ends"])
@pytest.mark.parametrize("chosen", [*GREEDY, *BEAMS], ids=words)
def test_gpt2(gpt2_models, chosen, ends):
    ids, mask = left_padded(PROMPTS)
    lengths = set()
    for model in gpt2_models:
        common = {"max_new_tokens": 12, "eos_token_id": ends, **chosen}
        with torch.no_grad():
            theirs = model.generate(
                ids, attention_mask=mask, pad_token_id=0, do_sample=False,
                return_dict_in_generate=True, output_scores=True, **common,
            )  # fmt: skip
        ours = generate(GPT2Decoder(model), PROMPTS, GenerationSettings(**common))
        each = chosen.get("num_return_sequences", 1)
        assert [result.prompt for result in ours] == [prompt for prompt in range(3) for _ in range(each)]
        settings = GenerationSettings(**common)
        for row, result in zip(theirs.sequences[:, ids.shape[1] :], ours, strict=True):
            compare(row, result, settings, padding_id=0)
            lengths.add(len(result.token_ids))
        if "num_beams" in chosen:
            scores = [result.score for result in ours]
            assert np.allclose(scores, theirs.sequences_scores.numpy(), rtol=1e-4, atol=1e-5)
    assert len(lengths) > 1 or chosen.get("min_new_tokens"), "every answer has the same length: nothing ended early"


def compare(row, result, settings, padding_id):
    expected = unpadded(row, settings.eos_token_ids, padding_id)
    found = list(result.token_ids)
    if found[-1] not in settings.eos_token_ids:
        assert len(found) == settings.max_new_tokens
        expected += [padding_id] * (len(found) - len(expected))  # its own token 0 looks like padding
    assert found == expected
    assert result.finish_reason == ("eos" if found[-1] in settings.eos_token_ids else "length")


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"num_beams": 2},
        {"num_beams": 4, "length_penalty": 2.0, "num_return_sequences": 3},
        {"num_beams": 4, "early_stopping": True, "no_repeat_ngram_size": 3},
        {"repetition_penalty": 1.4},
        {"forced_bos_token_id": 9, "num_beams": 4, "num_return_sequences": 4},
        {"forced_bos_token_id": 9, "forced_eos_token_id": 2},
    ],
    ids=words,
)
@pytest.mark.parametrize("make", [tiny_t5, tiny_bart])
def test_encoder_decoder(make, chosen):
    model = make()
    padding_id, start = model.config.pad_token_id, model.config.decoder_start_token_id
    mask = torch.tensor([[1] * 5, [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])
    source = torch.tensor([[5, 9, 12, 3, 14], [31, 4, 11, 0, 0], [8, 8, 40, 2, 0]])
    source[mask == 0] = padding_id
    with torch.no_grad():
        theirs = model.generate(
            source, attention_mask=mask, max_new_tokens=10, do_sample=False,
            return_dict_in_generate=True, output_scores=True, **chosen,
        )  # fmt: skip
    settings, not_followed = settings_from_config(model.generation_config.to_dict(), max_new_tokens=10, **chosen)
    assert not not_followed
    decoder = EncoderDecoderDecoder(model, source.tolist(), mask.tolist())
    ours = generate(decoder, [[start]] * 3, settings)
    for row, result in zip(theirs.sequences[:, 1:], ours, strict=True):
        compare(row, result, settings, padding_id)
    if "num_beams" in chosen:
        scores = [result.score for result in ours]
        assert np.allclose(scores, theirs.sequences_scores.numpy(), rtol=1e-4, atol=1e-5)


def test_logprobs_are_the_models_own(gpt2_models):
    ids, mask = left_padded(PROMPTS)
    model = gpt2_models[0]
    with torch.no_grad():
        theirs = model.generate(
            ids, attention_mask=mask, pad_token_id=0, do_sample=False, max_new_tokens=6, eos_token_id=None,
            repetition_penalty=1.5, return_dict_in_generate=True, output_logits=True,
        )  # fmt: skip
    expected = torch.stack(theirs.logits, dim=1).log_softmax(-1)  # [B, T, V]
    ours = generate(
        GPT2Decoder(model), PROMPTS, GenerationSettings(max_new_tokens=6, logprobs=3, repetition_penalty=1.5)
    )
    for row, result in enumerate(ours):
        for place, found in enumerate(result.logprobs):
            assert found.token_id == result.token_ids[place]
            assert found.logprob == pytest.approx(float(expected[row, place, found.token_id]), abs=1e-5)
            values, tokens = expected[row, place].topk(3)
            assert [token for token, _ in found.top] == tokens.tolist()
            assert [value for _, value in found.top] == pytest.approx(values.tolist(), abs=1e-5)
