"""The decoder that stands for GPT-3: its size is the published one, and what is fused computes the same."""

from __future__ import annotations

import numpy as np

import tfgraph as tg
from tfgraph.bench.decoder import GPT3, Decoder, DecoderSize
from tfgraph.tolerance import relative_error

SMALL = DecoderSize(3, 32, 4, 64, 50, 20)
IDS = {"input_ids": tg.spec("int64", ["batch", "seq"])}


def test_the_parameters_of_gpt3_are_those_of_its_table():
    model = Decoder(GPT3)
    layer = 12 * GPT3.hidden_size**2 + 13 * GPT3.hidden_size  # matrices; biases and two norms
    around = (GPT3.vocab_size + GPT3.max_positions + 2) * GPT3.hidden_size
    assert model.num_parameters() == 96 * layer + around
    assert round(model.num_parameters() / 1e9) == 175


def test_every_layer_is_fused():
    fused = tg.compile(Decoder(SMALL), inputs=IDS).report.fused
    assert fused["Attention"] == 3
    assert fused["LayerNormalization"] == 2 * 3 + 1


def test_the_head_is_the_token_table():
    parameters = dict(Decoder(SMALL).named_parameters())
    assert "tokens.weight" in parameters
    assert not any(name.startswith("head.") for name in parameters)


def test_fused_and_plain_give_the_same_and_look_at_no_later_token(rng):
    model = Decoder(SMALL)
    state = {
        path: rng.standard_normal(parameter.shape).astype(np.float32) * np.float32(0.2)
        for path, parameter in model.named_parameters()
    }
    model.load_state_dict(state)
    ids = rng.integers(0, 50, (2, 7))
    fused, plain = (tg.compile(model, inputs=IDS, fuse=fuse, num_threads=1)(input_ids=ids) for fuse in (True, False))
    assert fused.shape == (2, 7, 50)
    assert relative_error(fused, plain) < 1e-5
    changed = ids.copy()
    changed[:, 5:] = 0
    again = tg.compile(model, inputs=IDS, num_threads=1)(input_ids=changed)
    assert relative_error(again[:, :5], fused[:, :5]) < 1e-6
    assert relative_error(again[:, 5:], fused[:, 5:]) > 1e-3
