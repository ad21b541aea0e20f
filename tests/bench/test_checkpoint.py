"""The random checkpoint: transformers and tfgraph read the same numbers from it, and every one of them matters."""

from __future__ import annotations

import numpy as np
import pytest

import tfgraph as tg
from tfgraph.bench.checkpoint import write_bert_checkpoint
from tfgraph.errors import ExportError


def test_transformers_finds_every_weight_and_no_other(tiny, tmp_path):
    from transformers import BertModel

    write_bert_checkpoint(tmp_path, tiny)
    model, found = BertModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(found[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ours = dict(tg.load(tmp_path).module.named_parameters())
    assert len(ours) == len(list(model.parameters()))
    table = model.embeddings.word_embeddings.weight.detach().numpy()
    assert np.array_equal(ours["embeddings.word.weight"].data.numpy(), table)


def test_the_configuration_reads_back(tiny, tmp_path):
    write_bert_checkpoint(tmp_path, tiny)
    assert tg.load(tmp_path).config == tiny


def test_no_bias_is_zero_and_no_scale_is_one(tiny, tmp_path):
    write_bert_checkpoint(tmp_path, tiny)
    for path, parameter in tg.load(tmp_path).module.named_parameters():
        values = parameter.data.numpy()
        assert not np.any(values == 0.0), path
        assert not np.any(values == 1.0), path
        centre = 1.0 if ".norm" in path and path.endswith("weight") else 0.0
        assert abs(values.mean() - centre) < 0.02, path


def test_the_same_seed_gives_the_same_bytes(tiny, tmp_path):
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        weights.append(write_bert_checkpoint(tmp_path / name, tiny, seed).read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_a_folder_that_is_not_there_is_named(tiny, tmp_path):
    with pytest.raises(ExportError, match=r"cannot write a checkpoint into .*absent"):
        write_bert_checkpoint(tmp_path / "absent", tiny)
