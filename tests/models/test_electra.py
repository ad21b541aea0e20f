"""ELECTRA against transformers: discriminator, generator, and the summaries that it makes for multiple choice."""

from __future__ import annotations

from pathlib import Path

import pytest

import tfgraph
from tests.models.encoder_parity import SMALL, encoder_errors, names_in_transformers
from tests.models.parity import assert_exact, random_model, save
from tfgraph.errors import ConfigError
from tfgraph.models.electra import FAMILY, SUMMARIES, ElectraConfig
from tfgraph.models.names import checkpoint_name

HEADS = [architecture.name for architecture in FAMILY.architectures]
NARROW = {"embedding_size": 10}


@pytest.mark.parametrize("name", HEADS)
def test_every_kind_of_batch(name: str, tmp_path: Path) -> None:
    assert_exact(encoder_errors(name, tmp_path, **NARROW))


@pytest.mark.parametrize("name", ["ElectraForPreTraining", "ElectraForMaskedLM"])
@pytest.mark.parametrize(
    "changes",
    [{"embedding_size": 36}, {"hidden_act": "relu"}, {"tie_word_embeddings": False, "layer_norm_eps": 0.01}],
    ids=str,
)
def test_settings(name: str, changes: dict[str, object], tmp_path: Path) -> None:
    assert_exact(encoder_errors(name, tmp_path, **{**NARROW, **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        *({"summary_type": kind} for kind in SUMMARIES),
        {"summary_use_proj": False},
        {"summary_activation": "tanh"},
        {"summary_activation": ""},
        {"summary_type": "mean", "summary_use_proj": False, "summary_activation": ""},
    ],
    ids=str,
)
def test_summaries(changes: dict[str, object], tmp_path: Path) -> None:
    assert_exact(encoder_errors("ElectraForMultipleChoice", tmp_path, **NARROW, **changes))


def test_scores_of_replaced_tokens_are_one_a_token(tmp_path: Path) -> None:
    pretrained = tfgraph.load(save(random_model("ElectraForPreTraining", **SMALL), tmp_path))
    assert pretrained.task == "replaced-token-detection"
    assert [str(value.shape) for value in pretrained.trace().outputs.values()] == ["(batch, seq)"]


def test_a_discriminator_can_be_loaded_as_an_encoder(tmp_path: Path) -> None:
    """Its head is left over, and so is that of the generator."""
    for name in ("ElectraForPreTraining", "ElectraForMaskedLM"):
        folder = save(random_model(name, **{**SMALL, **NARROW}), tmp_path / name)
        assert list(tfgraph.load(folder, task="base").trace().outputs) == ["last_hidden_state"]


def test_an_activation_of_null_is_none() -> None:
    assert ElectraConfig.from_dict(SMALL).summary_activation == "gelu"
    assert ElectraConfig.from_dict({**SMALL, "summary_activation": None}).summary_activation == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"summary_type": "attn"}, r"unknown summary_type 'attn': .*'first', 'last', 'cls_index', 'mean'"),
        ({"summary_activation": "gelo"}, "unknown activation 'gelo': did you mean 'gelu'"),
        ({"summary_proj_to_labels": True}, "'summary_proj_to_labels' is true: the summary keeps the hidden size here"),
        ({"embedding_size": 0}, "embedding_size is 0: expected a whole number of at least 1"),
        ({"is_decoder": True}, "'is_decoder' is True: electra models are built as encoders only"),
    ],
)
def test_settings_that_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=f"x/config.json: {message}"):
        ElectraConfig.from_dict({**SMALL, **changes}, "x/config.json")


@pytest.mark.parametrize("width", [10, 36])
@pytest.mark.parametrize("name", HEADS)
def test_every_parameter_has_the_name_that_transformers_gives_it(name: str, width: int) -> None:
    architecture = FAMILY.architecture_named(name)
    module = architecture.build(ElectraConfig(**SMALL, embedding_size=width, labels=("a", "b", "c")))
    ours = {checkpoint_name(path, architecture.names): each.shape for path, each in module.named_parameters()}
    labels = 2 if architecture.task == "question-answering" else 3
    assert ours == names_in_transformers(name, FAMILY.aliases, embedding_size=width, num_labels=labels)


def test_all_is_fused(tmp_path: Path) -> None:
    compiled = tfgraph.compile(tfgraph.load(save(random_model("ElectraForPreTraining", **SMALL), tmp_path)))
    assert compiled.report.as_dict()["fused"] == {
        "Attention": 2, "LayerNormalization": 5, "com.microsoft::BiasGelu": 3,
    }  # fmt: skip
