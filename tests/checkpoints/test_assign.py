"""Pairing parameters with tensors: what fits is paired whatever the prefix, what does not is listed exactly."""

import re

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tfgraph.checkpoints import match_weights, read_safetensors
from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import AbsentConstant, ArrayConstant, FileConstant
from tfgraph.ir.dtypes import DType

F32 = DType.FLOAT32
BODY = {
    "embeddings.word_embeddings.weight": (F32, (10, 4)),
    "encoder.layer.0.query.weight": (F32, (4, 4)),
    "encoder.layer.0.query.bias": (F32, (4,)),
    "encoder.layer.0.LayerNorm.weight": (F32, (4,)),
    "encoder.layer.0.LayerNorm.bias": (F32, (4,)),
}


def _prefixed(prefix, expected):
    return {prefix + name: kind for name, kind in expected.items()}


def _checkpoint(expected, dtype=None):
    rng = np.random.default_rng(0)
    return {
        name: ArrayConstant(rng.standard_normal(shape).astype((dtype or wanted).numpy()))
        for name, (wanted, shape) in expected.items()
    }


def _error(expected, given_weights, **options):
    with pytest.raises(CheckpointError) as caught:
        match_weights(expected, given_weights, **options)
    return str(caught.value)


def test_same_names():
    weights = _checkpoint(BODY)
    matched = match_weights(BODY, weights)
    assert list(matched.weights) == list(BODY)
    assert all(matched.weights[name] is weights[name] for name in BODY)
    assert (matched.ignored, matched.prefix, matched.tied) == ([], "", {})


@pytest.mark.parametrize(
    "model_prefix, checkpoint_prefix, difference",
    [("bert.", "", "bert."), ("", "bert.", "bert."), ("bert.", "model.bert.", "model."), ("bert.", "bert.", "")],
)
def test_prefix_on_either_side(model_prefix, checkpoint_prefix, difference):
    head = {"classifier.weight": (F32, (2, 4))}
    weights = _checkpoint(_prefixed(checkpoint_prefix, BODY) | head)
    matched = match_weights(_prefixed(model_prefix, BODY) | head, weights)
    for name in BODY:
        assert matched.weights[model_prefix + name] is weights[checkpoint_prefix + name]
    assert matched.weights["classifier.weight"] is weights["classifier.weight"]
    assert matched.prefix == difference


def test_gamma_and_beta_are_weight_and_bias():
    weights = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): constant
        for name, constant in _checkpoint(_prefixed("bert.", BODY)).items()
    }
    matched = match_weights(BODY, weights)
    assert matched.weights["encoder.layer.0.LayerNorm.weight"] is weights["bert.encoder.layer.0.LayerNorm.gamma"]
    assert matched.weights["encoder.layer.0.LayerNorm.bias"] is weights["bert.encoder.layer.0.LayerNorm.beta"]


def test_a_parameter_that_is_called_gamma_keeps_its_name():
    expected = {"scale.gamma": (F32, (3,)), "scale.weight": (F32, (3,))}
    weights = _checkpoint(expected)
    matched = match_weights(expected, weights)
    assert matched.weights == weights


def test_own_name_comes_before_a_likely_one():
    expected = {"norm.weight": (F32, (3,))}
    weights = {
        "norm.gamma": ArrayConstant(np.zeros(3, np.float32)),
        "norm.weight": ArrayConstant(np.ones(3, np.float32)),
    }
    assert match_weights(expected, weights, ignore=["norm.gamma"]).weights["norm.weight"] is weights["norm.weight"]
    assert "1 tensor in the checkpoint but not in the model:\n    norm.gamma" in _error(expected, weights)


def test_a_tensor_fills_one_parameter_even_if_its_name_resembles_two():
    expected = _prefixed("bert.", BODY) | {"norm.weight": (F32, (4,)), "bert.norm.weight": (F32, (4,))}
    weights = _checkpoint(BODY | {"norm.weight": (F32, (4,))})
    assert "1 tensor missing from the checkpoint:\n    bert.norm.weight" in _error(expected, weights)


def test_two_tensors_renamed_to_one_parameter():
    weights = _checkpoint({"a": (F32, (2,)), "b": (F32, (2,))})
    message = _error({"w": (F32, (2,))}, weights, rename=lambda name: "w")
    assert "1 tensor in the checkpoint but not in the model:\n    b: float32[2]" in message


def test_rename_and_drop():
    expected = {"blocks.0.attention.query.weight": (F32, (4, 4)), "blocks.0.norm.bias": (F32, (4,))}
    weights = {
        "model.h.0.q.weight": ArrayConstant(np.zeros((4, 4), np.float32)),
        "model.h.0.norm.beta": ArrayConstant(np.zeros(4, np.float32)),
        "model.h.0.attn.masked_bias": ArrayConstant(np.zeros(1, np.float32)),
    }

    def rename(name):
        if name.endswith("masked_bias"):
            return None
        return re.sub(r"h\.(\d+)\.", r"blocks.\1.", name).replace(".q.", ".attention.query.")

    matched = match_weights(expected, weights, rename=rename)
    assert matched.weights == {
        "blocks.0.attention.query.weight": weights["model.h.0.q.weight"],
        "blocks.0.norm.bias": weights["model.h.0.norm.beta"],
    }
    assert matched.ignored == ["model.h.0.attn.masked_bias"]
    assert matched.prefix == "model."


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_left_over_tensors_that_a_family_allows_are_reported(prefix):
    weights = _checkpoint(_prefixed(prefix, BODY))
    weights[f"{prefix}embeddings.position_ids"] = ArrayConstant(np.arange(10)[None])
    weights["cls.predictions.decoder.bias"] = ArrayConstant(np.zeros(3, np.float32))
    matched = match_weights(BODY, weights, ignore=iter(["cls.*", "embeddings.position_ids"]))
    assert (
        matched.ignored == [f"{prefix}embeddings.position_ids", "cls.predictions.decoder.bias"][:: 1 if prefix else -1]
    )
    assert list(matched.weights) == list(BODY)


def test_a_tensor_that_a_parameter_wants_is_never_ignored():
    weights = _checkpoint(BODY)
    assert list(match_weights(BODY, weights, ignore=["*"]).weights) == list(BODY)


@pytest.mark.parametrize("numpy_dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_float_widths_are_converted_when_read(tmp_path, numpy_dtype):
    array = np.random.default_rng(0).standard_normal((40, 40)).astype(numpy_dtype)
    save_file({"w": array}, tmp_path / "w.safetensors")
    weights = read_safetensors(tmp_path / "w.safetensors")
    converted = match_weights({"w": (F32, (40, 40))}, weights).weights["w"]
    assert (converted.dtype, converted.shape) == (F32, (40, 40))
    assert not isinstance(converted, FileConstant | ArrayConstant)  # still on disk
    np.testing.assert_array_equal(converted.numpy(), array.astype(np.float32))


def test_integers_are_widened():
    weights = {"ids": ArrayConstant(np.arange(3, dtype=np.int32))}
    widened = match_weights({"ids": (DType.INT64, (3,))}, weights).weights["ids"]
    assert widened.dtype is DType.INT64
    np.testing.assert_array_equal(widened.numpy(), np.arange(3))


@pytest.mark.parametrize(
    "found, wanted",
    [
        (DType.INT8, F32),
        (DType.UINT8, F32),
        (DType.BOOL, F32),
        (F32, DType.INT64),
        (DType.INT64, DType.INT32),
        (DType.INT8, DType.UINT8),
    ],
)
def test_dtypes_that_do_not_convert(found, wanted):
    message = _error({"w": (wanted, (2,))}, {"w": AbsentConstant(found, (2,))})
    assert "1 tensor of a dtype that does not convert to the model's:" in message
    assert f"    w: found {found}, expected {wanted}" in message


TIED = {"cls.decoder.weight": "embeddings.word_embeddings.weight"}
WITH_HEAD = BODY | {"cls.decoder.weight": (F32, (10, 4))}


def test_tied_parameter_takes_the_other_ones_weights():
    weights = _checkpoint(BODY)
    matched = match_weights(WITH_HEAD, weights, tied=TIED)
    assert matched.weights["cls.decoder.weight"] is weights["embeddings.word_embeddings.weight"]
    assert matched.tied == TIED


def test_tie_works_when_only_the_other_end_was_saved():
    weights = _checkpoint(WITH_HEAD)
    del weights["embeddings.word_embeddings.weight"]
    matched = match_weights(WITH_HEAD, weights, tied=TIED)
    assert matched.weights["embeddings.word_embeddings.weight"] is weights["cls.decoder.weight"]
    assert matched.tied == {"embeddings.word_embeddings.weight": "cls.decoder.weight"}


def test_tied_parameter_that_the_checkpoint_has_keeps_its_own():
    weights = _checkpoint(WITH_HEAD)
    matched = match_weights(WITH_HEAD, weights, tied=TIED)
    assert matched.weights["cls.decoder.weight"] is weights["cls.decoder.weight"]
    assert matched.tied == {}


def test_tied_parameters_stay_shared_when_converted():
    matched = match_weights(WITH_HEAD, _checkpoint(BODY, DType.FLOAT16), tied=TIED)
    assert matched.weights["cls.decoder.weight"] is matched.weights["embeddings.word_embeddings.weight"]


def test_chain_and_circle_of_ties():
    expected = dict.fromkeys(("a", "b", "c"), (F32, (2,)))
    weights = {"c": ArrayConstant(np.zeros(2, np.float32))}
    for tied in ({"a": "b", "b": "c"}, {"a": "b", "b": "c", "c": "a"}):
        matched = match_weights(expected, weights, tied=tied)
        assert all(matched.weights[name] is weights["c"] for name in expected)
    message = _error(expected, {}, tied={"a": "b", "b": "a"})
    assert "a: float32[2] (it may be tied to b, which is missing too)" in message


def test_the_end_of_a_chain_of_ties_comes_first():
    expected = dict.fromkeys("abc", (F32, (2,)))
    weights = {name: ArrayConstant(np.zeros(2, np.float32)) for name in ("a", "c")}
    matched = match_weights(expected, weights, tied={"a": "c", "b": "c"})
    assert matched.weights == weights | {"b": weights["c"]}
    assert matched.tied == {"b": "c"}


def test_tied_to_a_tensor_of_another_shape():
    expected = BODY | {"cls.decoder.weight": (F32, (11, 4))}
    message = _error(expected, _checkpoint(BODY), tied=TIED)
    assert (
        "cls.decoder.weight (embeddings.word_embeddings.weight in the checkpoint): found [10, 4], expected [11, 4]"
        in message
    )


def test_one_error_lists_everything_that_does_not_fit():
    weights = _checkpoint(_prefixed("bert.", BODY))
    weights["bert.encoder.layer.0.qeury.weight"] = weights.pop("bert.encoder.layer.0.query.weight")
    del weights["bert.encoder.layer.0.LayerNorm.bias"]
    weights["bert.encoder.layer.0.query.bias"] = ArrayConstant(np.zeros(5, np.float32))
    weights["bert.embeddings.word_embeddings.weight"] = ArrayConstant(np.zeros((10, 4), np.int8))
    assert _error(BODY, weights, source="models/tiny") == (
        "the checkpoint in models/tiny does not fit the model:\n"
        "  2 tensors missing from the checkpoint:\n"
        "    encoder.layer.0.LayerNorm.bias: float32[4]\n"
        "    encoder.layer.0.query.weight: float32[4, 4] "
        "(the checkpoint has bert.encoder.layer.0.qeury.weight: was that meant?)\n"
        "  1 tensor in the checkpoint but not in the model:\n"
        "    bert.encoder.layer.0.qeury.weight: float32[4, 4]\n"
        "  1 tensor of another shape than the model's:\n"
        "    encoder.layer.0.query.bias (bert.encoder.layer.0.query.bias in the checkpoint): found [5], expected [4]\n"
        "  1 tensor of a dtype that does not convert to the model's:\n"
        "    embeddings.word_embeddings.weight (bert.embeddings.word_embeddings.weight in the checkpoint): "
        "found int8, expected float32\n"
        "Check that the configuration is the one that was saved with these weights, and for this model."
    )


def test_long_lists_are_sorted_and_cut():
    expected = {f"layer.{number:02d}.weight": (F32, (2,)) for number in range(30)}
    weights = _checkpoint({f"layer.{number:02d}.weight": (F32, (3,)) for number in range(20)})
    weights |= _checkpoint({f"extra.{number}.weight": (F32, (3,)) for number in range(9, -1, -1)})
    lines = _error(expected, weights).split("\n")
    missing = lines.index("  10 tensors missing from the checkpoint:")
    assert [line.strip() for line in lines[missing + 1 : missing + 10]] == [
        *(f"layer.{number}.weight: float32[2]" for number in range(20, 28)),
        "and 2 more",
    ]
    extra = lines.index("  10 tensors in the checkpoint but not in the model:")
    assert lines[extra + 1].strip() == "extra.0.weight: float32[3]"
    assert lines[extra + 9].strip() == "and 2 more"
    misshapen = lines.index("  20 tensors of another shape than the model's:")
    assert lines[misshapen + 1].strip() == "layer.00.weight: found [3], expected [2]"
    assert lines[misshapen + 9].strip() == "and 12 more"


def test_checkpoint_of_another_kind_of_model():
    message = _error(BODY, _checkpoint({"h.0.attn.weight": (F32, (4, 4))}))
    assert "None of the model's 5 parameters is in it by name" in message
    assert "was that meant" not in message


def test_two_halves_of_a_dual_encoder_are_not_confused():
    weights = _checkpoint(_prefixed("query_encoder.", BODY) | _prefixed("passage_encoder.", BODY))
    assert "5 tensors in the checkpoint but not in the model" in _error(BODY, weights)


def test_empty_model_and_empty_checkpoint():
    assert match_weights({}, {}).weights == {}
    assert "5 tensors missing" in _error(BODY, {})


NAME = st.lists(st.sampled_from(["a", "b", "gamma", "weight"]), min_size=1, max_size=3).map(".".join)
SHAPES = st.dictionaries(NAME, st.sampled_from([(1,), (2,), (1, 2)]), max_size=6)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(wanted=SHAPES, found=SHAPES, ties=st.dictionaries(NAME, NAME, max_size=3))
def test_a_match_is_complete_and_uses_no_tensor_twice_except_through_ties(wanted, found, ties):
    expected = {name: (F32, shape) for name, shape in wanted.items()}
    weights = {name: AbsentConstant(F32, shape) for name, shape in found.items()}
    try:
        matched = match_weights(expected, weights, tied=ties)
    except CheckpointError:
        assert wanted != found
        return
    assert list(matched.weights) == list(expected)
    assert all(matched.weights[name].shape == shape for name, shape in wanted.items())
    own = [id(constant) for name, constant in matched.weights.items() if name not in matched.tied]
    assert len(set(own)) == len(own) == len(weights)
