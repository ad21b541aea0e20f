"""A model of transformers as a `Decoder`, so that generation is tested against `generate` with nothing else between."""

from __future__ import annotations

import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    DynamicCache,
    EncoderDecoderCache,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)


class GPT2Decoder:
    """A decoder-only model with its `DynamicCache`."""

    def __init__(self, model):
        self.model = model
        self.vocab_size = model.config.vocab_size
        self.context_length = model.config.n_positions
        self.calls = []  # what was asked for, with the number of rows

    def start(self, input_ids, attention_mask):
        self.calls.append(("start", len(input_ids)))
        self.cache = DynamicCache()
        self.mask = torch.from_numpy(attention_mask)
        positions = (self.mask.cumsum(1) - 1).clamp(min=0)
        return self._logits(torch.from_numpy(input_ids), positions)

    def step(self, token_ids):
        self.calls.append(("step", len(token_ids)))
        self.mask = torch.cat([self.mask, torch.ones(len(token_ids), 1, dtype=torch.int64)], dim=1)
        return self._logits(torch.from_numpy(token_ids)[:, None], self.mask.sum(1, keepdim=True) - 1)

    def select(self, rows):
        self.calls.append(("select", len(rows)))
        index = torch.from_numpy(rows)
        self.mask = self.mask[index]
        self.cache.batch_select_indices(index)

    @torch.no_grad()
    def _logits(self, ids, positions):
        out = self.model(ids, attention_mask=self.mask, position_ids=positions, past_key_values=self.cache)
        return out.logits[:, -1].numpy()


class EncoderDecoderDecoder:
    """An encoder-decoder: the encoder has run, the prompts are the decoder's start tokens."""

    context_length = None

    def __init__(self, model, source, source_mask):
        self.model = model
        self.vocab_size = model.config.vocab_size
        self.source_mask = torch.tensor(source_mask)
        with torch.no_grad():
            encoder = model.get_encoder()
            self.states = encoder(torch.tensor(source), attention_mask=self.source_mask).last_hidden_state

    def start(self, input_ids, attention_mask):
        assert (attention_mask == 1).all()
        self.cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        return self._logits(input_ids)

    def step(self, token_ids):
        return self._logits(token_ids[:, None])

    def select(self, rows):
        index = torch.from_numpy(rows)
        self.states, self.source_mask = self.states[index], self.source_mask[index]
        self.cache.batch_select_indices(index)

    @torch.no_grad()
    def _logits(self, ids):
        out = self.model(
            decoder_input_ids=torch.from_numpy(ids),
            encoder_outputs=(self.states,),
            attention_mask=self.source_mask,
            past_key_values=self.cache,
        )
        return out.logits[:, -1].numpy()


def tiny_gpt2(seed=0, end_bias=0.0, end_tokens=(7,)):
    """Random GPT-2 with logits spread enough to be no toss-up; `end_bias` makes the end tokens likelier."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=61, n_embd=32, n_layer=2, n_head=2, n_positions=64, bos_token_id=None, eos_token_id=None
    )
    model = GPT2LMHeadModel(config).eval()
    _spread(model)
    model.lm_head = torch.nn.Linear(32, 61)
    torch.nn.init.normal_(model.lm_head.weight, std=0.35)
    with torch.no_grad():
        model.lm_head.bias.zero_()
        model.lm_head.bias[list(end_tokens)] = end_bias
    return model


def tiny_t5(seed=0):
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=61, d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2, tie_word_embeddings=False,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config).eval()
    _spread(model)
    torch.nn.init.normal_(model.lm_head.weight, std=0.35)
    return model


def tiny_bart(seed=0):
    """Random BART, whose configuration forces its first and its last token."""
    torch.manual_seed(seed)
    config = BartConfig(
        vocab_size=61, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=40,
        bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2, forced_bos_token_id=0,
        forced_eos_token_id=2, tie_word_embeddings=False,
    )  # fmt: skip
    model = BartForConditionalGeneration(config).eval()
    _spread(model)
    torch.nn.init.normal_(model.lm_head.weight, std=0.35)
    return model


def _spread(model):
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)


def left_padded(prompts, padding_id=0):
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), padding_id)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    return ids, mask


def unpadded(row, end_tokens, padding_id):
    """A row of `generate` without what fills it up after its end token."""
    tokens = row.tolist()
    for place, token in enumerate(tokens):
        if token in end_tokens:
            return tokens[: place + 1]
    while tokens and tokens[-1] == padding_id:
        tokens.pop()
    return tokens
