"""Damaged files with sequences and optional values through `optimize_onnx`: a typed error, or a file, never a crash."""

from __future__ import annotations

import hypothesis
import onnx
import pytest

from tests.fuzz.damage import attempt, flipped_bytes, refuse_cut_short

TEXT = """<ir_version: 10, opset_import: ["" : 18]>
main (seq(float[N, 2]) s, optional(float[M]) o, int64 n) => (seq(float[N, 2]) r, bool h, optional(seq(float[K])) q) {
    t = Constant <value = bool {1}> ()
    z = Constant <value = int64 {0}> ()
    h = OptionalHasElement (o)
    q = Optional <type = seq(float[K])> ()
    r = Loop (n, t, s) <body = b (int64 i, bool c, seq(float[N, 2]) p) => (bool d, seq(float[N, 2]) e) {
        d = Identity (c)
        f = SequenceAt (p, z)
        g = Relu (f)
        e = SequenceInsert (p, g)
    }>
}"""
SAMPLE = onnx.parser.parse_model(TEXT).SerializeToString()


def test_the_sample_itself_is_optimised(tmp_path):
    assert attempt(SAMPLE, tmp_path) is None


def test_a_truncated_file_at_every_seventh_length(tmp_path):
    refuse_cut_short(SAMPLE, tmp_path)


@hypothesis.given(data=flipped_bytes(SAMPLE))
@hypothesis.settings(max_examples=150, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_flipped_bytes(data, tmp_path):
    attempt(data, tmp_path)


@pytest.mark.parametrize("place", ["input", "output", "attribute"])
def test_a_symbol_that_is_no_text(place, tmp_path):
    model = onnx.load_from_string(SAMPLE)
    type_ = {
        "input": model.graph.input[0].type.sequence_type.elem_type,
        "output": model.graph.output[2].type.optional_type.elem_type.sequence_type.elem_type,
        "attribute": model.graph.node[3].attribute[0].tp.sequence_type.elem_type,
    }[place]
    type_.tensor_type.shape.dim[0].dim_param = "symbol!!"
    data = model.SerializeToString().replace(b"symbol!!", b"symbol\xff\xfe")
    message = attempt(data, tmp_path)
    assert message is not None
    assert "is not UTF-8" in message
