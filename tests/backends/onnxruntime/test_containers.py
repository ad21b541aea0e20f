"""Sessions of models that take and give sequences and optional values: lists of arrays, and None."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

from tfgraph.backends.onnxruntime.session import Session
from tfgraph.errors import InputError

TEXT = """<ir_version: 10, opset_import: ["" : 18]>
g (seq(float[N, 2]) s, optional(float[M]) o, optional(seq(int64[K])) p)
    => (seq(float[N, 2]) r, optional(float[M]) q, bool h, int64 n) {
    r = Identity (s)
    q = Identity (o)
    h = OptionalHasElement (p)
    n = SequenceLength (s)
}"""


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(onnx.parser.parse_model(TEXT).SerializeToString(), num_threads=1, quiet=True)


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [np.arange(np.prod(shape), dtype=np.float32).reshape(shape) for shape in shapes]


def test_a_session_says_what_it_takes_and_gives(session: Session) -> None:
    assert [str(spec) for spec in session.inputs.values()] == [
        "s: sequence<float32[...]>",
        "o: optional<float32[M]>",
        "p: optional<sequence<int64[...]>>",
    ]
    assert session.outputs["r"].containers == ("sequence",)
    assert session.outputs["h"].containers == ()


def test_lists_and_what_is_missing(session: Session) -> None:
    given = {"s": arrays((1, 2), (3, 2)), "o": arrays((4,))[0], "p": [np.array([1, 2])]}
    found = session.run(given)
    assert [array.tolist() for array in found["r"]] == [array.tolist() for array in given["s"]]
    np.testing.assert_array_equal(found["q"], given["o"])
    assert (bool(found["h"]), int(found["n"])) == (True, 2)
    found = session.run({"s": [], "o": None, "p": None})
    assert (found["r"], found["q"], bool(found["h"]), int(found["n"])) == ([], None, False, 0)


def test_lists_of_numbers_take_the_dtype(session: Session) -> None:
    found = session.run({"s": [[[1, 2]], ([3, 4], [5, 6])], "o": [7], "p": ([1],)}, ["r", "q"])
    assert [array.dtype for array in found["r"]] == [np.float32] * 2
    assert found["r"][1].tolist() == [[3, 4], [5, 6]]
    assert found["q"].tolist() == [7]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"s": np.zeros((1, 2), np.float32)},
            "input 's' is ndarray: expected a list of arrays for s: sequence",
        ),
        ({"s": None}, "input 's' is NoneType: expected a list of arrays"),
        ({"s": [np.zeros((1, 2))]}, r"input 's\[0\]' is float64, and float32 is expected"),
        ({"s": [[[1, 2]], [[1], [2, 3]]]}, r"input 's\[1\]' is no array"),
        ({"o": np.zeros((2, 2), np.float32)}, r"input 'o' has shape \[2, 2\], of rank 2: expected rank 1"),
        ({"p": np.array([1])}, "input 'p' is ndarray: expected a list of arrays for p"),
        ({"p": [["a"]]}, r"input 'p\[0\]' has elements that are no int64"),
    ],
)
def test_wrong_inputs_are_refused(session: Session, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        session.run({"s": [], "o": None, "p": None, **change})


def test_examples_are_empty(session: Session) -> None:
    assert session.example_inputs({"M": 3}) == {"s": [], "o": None, "p": None}
    session.warm_up()


def test_buffers_cannot_be_bound(session: Session) -> None:
    with pytest.raises(InputError, match="a sequence, or an optional value, of float32 has no buffer: pass it"):
        session.bind({"s": [], "o": None, "p": None})


def test_sequences_beside_element_types_that_numpy_lacks() -> None:
    text = """<ir_version: 10, opset_import: ["" : 18]>
    g (seq(float[N]) s, bfloat16[2] x) => (seq(float[N]) r, bfloat16[2] y) {
        r = Identity (s)
        y = Identity (x)
    }"""
    exotic = Session(onnx.parser.parse_model(text).SerializeToString(), num_threads=1, quiet=True)
    x = np.ones(2, ml_dtypes.bfloat16)
    with pytest.raises(InputError, match="all of numpy's own element types"):
        exotic.run({"s": [], "x": x})


def test_a_sequence_that_a_bound_run_returns() -> None:
    text = "g (float[2] x) => (seq(float[2]) r) { r = SequenceConstruct (x) }"
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]>\n{text}')
    bound = Session(model.SerializeToString(), num_threads=1, quiet=True).bind({"x": np.zeros(2, np.float32)})
    with pytest.raises(InputError, match="a sequence, or an optional value, of float32 has no buffer"):
        bound.run()
