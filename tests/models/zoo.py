"""Every family and every head of it, in small: what the table of parity in the documentation is made of.

A row is a class of transformers that a family here has an architecture for; its cells are the errors of ours in each
kind of batch. Families that transformers lacks have one row each, and are compared with transcriptions of their papers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tfgraph
from tests.models.encoder_parity import encoder_errors
from tests.models.parity import IN_FLOAT32, MASKS, batch, causal_lm_errors, max_error, random_model, save
from tests.models.seq2seq_parity import inputs_of, seq2seq_errors
from tests.models.transcribed import TRANSCRIBED
from tfgraph.models.family import SEQ2SEQ_LM, TEXT_GENERATION
from tfgraph.models.registry import FAMILIES, find_family

COLUMNS = ("no cache", "cache", "left padding", "right padding", "holes")
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}

_ENCODER: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 36,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 50,
    "max_position_embeddings": 24,
}
_DECODER = {**_ENCODER, "num_key_value_heads": 2, **IDS}
_GPT2 = {"vocab_size": 61, "n_embd": 36, "n_layer": 2, "n_head": 4, "n_positions": 24, **IDS}
_GPT_J = {**_GPT2, "rotary_dim": 4}
_T5 = {
    "vocab_size": 61,
    "d_model": 36,
    "d_kv": 7,
    "d_ff": 50,
    "num_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}

SETTINGS: dict[str, dict[str, Any]] = {
    "bert": _ENCODER,
    "roberta": _ENCODER,
    "xlm-roberta": _ENCODER,
    "camembert": _ENCODER,
    "electra": {**_ENCODER, "embedding_size": 20},
    "megatron-bert": _ENCODER,
    "albert": {**_ENCODER, "embedding_size": 20, "num_hidden_layers": 3},
    "distilbert": {
        "vocab_size": 61, "dim": 36, "n_layers": 2, "n_heads": 4, "hidden_dim": 50, "max_position_embeddings": 24,
    },
    "openai-gpt": _GPT2,
    "gpt2": _GPT2,
    "gptj": _GPT_J,
    "gpt_neo": {
        "vocab_size": 61, "hidden_size": 36, "num_layers": 2, "num_heads": 4, "max_position_embeddings": 24,
        "attention_types": [[["global", "local"], 1]], "window_size": 3, **IDS,
    },
    "gpt_neox": {**_ENCODER, **IDS, "hidden_size": 64},
    "opt": {**_ENCODER, **IDS, "ffn_dim": 50, "word_embed_proj_dim": 20, "do_layer_norm_before": True},
    "bloom": {"vocab_size": 61, "hidden_size": 36, "n_layer": 2, "n_head": 4, **IDS},
    "phi": {**_ENCODER, **IDS, "hidden_size": 32},
    "phi3": {**_DECODER, "hidden_size": 32},
    "llama": {**_DECODER, "hidden_size": 40},
    "mistral": {**_DECODER, "hidden_size": 40, "head_dim": 10, "sliding_window": 4},
    "qwen2": {**_DECODER, "hidden_size": 40},
    "qwen3": {**_DECODER, "head_dim": 12},
    "gemma": {**_DECODER, "head_dim": 12},
    "gemma2": {**_DECODER, "head_dim": 12, "sliding_window": 4},
    "gemma3_text": {**_DECODER, "head_dim": 12, "sliding_window": 4},
    "mixtral": {**_DECODER, "hidden_size": 40, "intermediate_size": 48, "num_local_experts": 4},
    "t5": _T5,
    "mt5": _T5,
    "bart": {
        "vocab_size": 61, "d_model": 36, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 50, "decoder_ffn_dim": 50, "max_position_embeddings": 24,
        **IDS,
    },
}  # fmt: skip
"""Small settings of each model type, under transformers' names."""


class Row(NamedTuple):
    """A class of transformers, or what else a family is called that it lacks, its model type here, and its task."""

    model_type: str
    name: str
    task: str


def rows() -> Iterator[Row]:
    """Every architecture of ours that is a class of transformers, and the language models of the other families."""
    import transformers

    for model_type in FAMILIES:
        family = find_family(model_type)
        for architecture in family.architectures:
            if architecture.name and hasattr(transformers, architecture.name) and model_type in SETTINGS:
                yield Row(model_type, architecture.name, architecture.task)
        if model_type in TRANSCRIBED:
            yield Row(model_type, f"{model_type} (transcribed)", TEXT_GENERATION)


def errors_of(row: Row, folder: Path) -> dict[str, float]:
    """The error in each of `COLUMNS` that there is for the task."""
    if row.model_type in TRANSCRIBED:
        folder.mkdir(parents=True, exist_ok=True)
        return _in_columns(TRANSCRIBED[row.model_type](folder))
    settings = SETTINGS[row.model_type]
    tasks = {architecture.task for architecture in find_family(row.model_type).architectures}
    if row.task == TEXT_GENERATION and SEQ2SEQ_LM in tasks:
        model = random_model(row.name, **settings)
        save(model, folder)
        return _in_columns(seq2seq_errors(model, folder))
    if row.task == TEXT_GENERATION:
        return _in_columns(causal_lm_errors(row.name, folder, **settings))
    if TEXT_GENERATION in tasks:
        return _in_columns(head_errors(row, folder))
    return _in_columns(encoder_errors(row.name, folder, **settings))


def _in_columns(errors: Mapping[str, float]) -> dict[str, float]:
    """The largest error of each column; how a model was run, and at what lengths, share a column."""
    columns: dict[str, float] = {}
    for cell, error in errors.items():
        column = "cache" if "cache" in cell else next((name for name in COLUMNS if name in cell), "no cache")
        columns[column] = max_error(columns.get(column, 0.0), error)
    return columns


def head_errors(row: Row, folder: Path) -> dict[str, float]:
    """The error of hidden states, or of a head on them, over real tokens, in each kind of batch."""
    import torch

    model = random_model(row.name, **SETTINGS[row.model_type], num_labels=3)
    precise = model.float if row.model_type in IN_FLOAT32 else model.double
    compiled = tfgraph.compile(tfgraph.load(save(model, folder)))
    errors = {}
    for kind in MASKS:
        inputs = {name: array for name, array in batch_of(kind).items() if name in compiled.graph.inputs}
        ours = compiled.run(inputs)
        with torch.no_grad():
            theirs = precise()(**given(model, inputs))
        tokens = inputs.get("decoder_attention_mask", inputs["attention_mask"]) == 1
        for name, array in ours.items():
            expected = theirs[name].numpy()
            at = tokens if expected.shape[:2] == tokens.shape else slice(None)
            errors[f"{kind}, {name}"] = float(np.abs(array - expected)[at].max() / np.abs(expected[at]).max())
    return errors


def batch_of(kind: str) -> dict[str, np.ndarray]:
    """Every input that a head may take. Padding has the id 0, and the last token of each text is an end."""
    ids, mask = batch(61, kind)
    inputs = {**inputs_of(kind, 61), "attention_mask": mask, "input_ids": np.where(mask == 1, ids, 0)}
    last = np.where(mask == 1, np.arange(mask.shape[1]), 0).max(1)
    inputs["input_ids"][np.arange(len(ids)), last] = IDS["eos_token_id"]
    return inputs


def given(model: Any, inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The inputs as transformers has them, with positions counted over tokens where the model takes any."""
    import inspect

    import torch

    arguments = {name: torch.from_numpy(array) for name, array in inputs.items()}
    if "position_ids" in inspect.signature(model.forward).parameters:
        positions = np.maximum(inputs["attention_mask"].cumsum(1) - 1, 0)
        arguments["position_ids"] = torch.from_numpy(positions)
    return arguments


def fused_operators(model_type: str, folder: Path) -> str:
    """What the passes fuse in the family's language model, each operator with its count; all parts of it together."""
    wanted = (TEXT_GENERATION, "masked-lm", "base")
    row = next(row for task in wanted for row in rows() if (row.model_type, row.task) == (model_type, task))
    pretrained = tfgraph.load(save(random_model(row.name, **SETTINGS[model_type]), folder), task=row.task)
    counts: dict[str, int] = {}
    for part in pretrained.parts.values():
        report = tfgraph.compile(part).report
        missed = [
            str(miss) for miss in report.near_misses if ".mlp." not in str(miss)
        ]  # a router's softmax is no attention
        assert not missed, missed[0]
        for operator, count in report.fused.items():
            counts[operator] = counts.get(operator, 0) + count
    return ", ".join(f"{count} {operator.rpartition('::')[2]}" for operator, count in sorted(counts.items()))
