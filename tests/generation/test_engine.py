"""`generate` and `stream` as their callers see them, on a model whose answers can be worked out by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.generation.bigram_decoder import BigramDecoder, chain
from tfgraph.errors import InputError, ShapeError
from tfgraph.generation import GenerationSettings, generate, stream

LETTERS = "abcdefghij"


def spell(token_ids):
    return "".join(LETTERS[token] for token in token_ids)


def answers(table, prompts, *, decode=spell, context_length=None, **chosen):
    return generate(BigramDecoder(table, context_length), prompts, GenerationSettings(**chosen), decode=decode)


def test_greedy():
    [result] = answers(chain(0, 3, 5, 9), [[0]], max_new_tokens=3)
    assert result.token_ids == (3, 5, 9)
    assert (result.prompt, result.text, result.finish_reason) == (0, "dfj", "length")
    assert result.logprobs is None and result.score is None


def test_ties_go_to_the_lower_token():
    assert answers(np.zeros((5, 5)), [[4]], max_new_tokens=2)[0].token_ids == (0, 0)


def test_rows_end_on_their_own_and_leave_the_batch():
    decoder = BigramDecoder(chain(1, 2, 3, 4, 5, 9))
    results = generate(decoder, [[4], [1], [5, 3]], GenerationSettings(eos_token_id=9), decode=spell)
    assert [result.token_ids for result in results] == [(5, 9), (2, 3, 4, 5, 9), (4, 5, 9)]
    assert [result.text for result in results] == ["f", "cdef", "ef"]  # an end token is no text
    assert {result.finish_reason for result in results} == {"eos"}
    sizes = [("start", 3), ("step", 3), ("select", 2), ("step", 2), ("select", 1), ("step", 1), ("step", 1)]
    assert decoder.sizes == sizes
    assert decoder.rows == [[1, 2, 3, 4, 5]]


def test_without_decode_there_is_no_text():
    assert answers(chain(0, 1), [[0]], decode=None, max_new_tokens=1)[0].text is None


def test_a_stop_string_may_span_tokens_and_is_cut():
    table = chain(0, 1, 2, 3, 4)
    [result] = answers(table, [[0]], stop_strings="cd")
    assert (result.token_ids, result.text, result.finish_reason) == ((1, 2, 3), "b", "stop")
    [result] = answers(table, [[0]], stop_strings=["xx", "cd"], include_stop_string=True)
    assert (result.token_ids, result.text, result.finish_reason) == ((1, 2, 3), "bcd", "stop")


def test_a_stop_string_is_not_looked_for_in_the_prompt():
    [result] = answers(chain(2, 3, 4, 5), [[1, 2]], stop_strings=["bc", "cd"], max_new_tokens=3)
    assert (result.text, result.finish_reason) == ("def", "length")


def test_a_stop_string_inside_a_token():
    def decode(token_ids):
        return "".join(["zero", "one. two", "three"][token] for token in token_ids)

    [result] = answers(chain(0, 1, 2, vocab_size=3), [[0]], stop_strings=". ", decode=decode)
    assert (result.token_ids, result.text) == ((1,), "one")


def test_stop_strings_need_text():
    with pytest.raises(InputError, match=r"stop_strings=\['x'\] need the text of the tokens: give `decode`"):
        answers(chain(0, 1), [[0]], decode=None, stop_strings="x")


def test_min_new_tokens_holds_back_the_end():
    table = chain(0, 9, 9)
    table[:, 1] = 1.0
    [result] = answers(table, [[0]], eos_token_id=9, min_new_tokens=2, max_new_tokens=4)
    assert result.token_ids == (1, 1, 1, 1)
    assert answers(table, [[0]], eos_token_id=9)[0].token_ids == (9,)


def test_the_context_bounds_each_row_by_its_own_length():
    results = answers(chain(*range(10)), [[0], [0, 1, 2]], context_length=6)
    assert [result.token_ids for result in results] == [(1, 2, 3, 4, 5), (3, 4, 5)]
    assert [result.finish_reason for result in results] == ["length", "length"]


def test_logprobs_come_before_the_settings():
    table = np.log([[0.1, 0.2, 0.3, 0.4]] * 4)
    [result] = answers(table, [[3]], logprobs=2, max_new_tokens=2, repetition_penalty=100.0)
    assert result.token_ids[0] != 3
    first = result.logprobs[0]
    assert first.logprob == pytest.approx(np.log([0.1, 0.2, 0.3, 0.4][first.token_id]), abs=1e-6)
    assert [token for token, _ in first.top] == [3, 2]
    assert [value for _, value in first.top] == pytest.approx(np.log([0.4, 0.3]).tolist(), abs=1e-6)
    [alone] = answers(table, [[3]], logprobs=0, max_new_tokens=2)
    assert [each.top for each in alone.logprobs] == [(), ()]
    [every] = answers(table, [[3]], logprobs=99, max_new_tokens=1)
    assert [token for token, _ in every.logprobs[0].top] == [3, 2, 1, 0]


def test_a_stream_gives_each_token_once_with_its_text():
    tokens = stream(
        BigramDecoder(chain(0, 1, 2, 3, 4)), [[0], [1]], GenerationSettings(stop_strings="de"), decode=spell
    )
    seen = []
    while True:
        try:
            seen.append(next(tokens))
        except StopIteration as end:
            results = end.value
            break
    for index, result in enumerate(results):
        mine = [token for token in seen if token.result == index]
        assert tuple(token.token_id for token in mine) == result.token_ids
        assert "".join(token.text for token in mine) == result.text
        assert [token.finish_reason for token in mine] == [None] * (len(mine) - 1) + ["stop"]
    assert [token.result for token in seen] == [0, 1, 0, 1, 0, 1, 0]


def test_what_was_held_back_comes_with_the_last_token():
    events = []
    decoder = BigramDecoder(chain(0, 1, 2, 3))
    asked = GenerationSettings(stop_strings="cdx", max_new_tokens=3)
    [result] = generate(decoder, [[0]], asked, decode=spell, on_token=events.append)
    assert [event.text for event in events] == ["b", "", "cd"]
    assert result.text == "bcd"


def test_several_results_of_a_prompt_are_numbered_one_after_another():
    events = []
    asked = GenerationSettings(do_sample=True, num_return_sequences=2, max_new_tokens=1, seed=0)
    results = generate(BigramDecoder(np.zeros((9, 9))), [[0], [1]], asked, on_token=events.append)
    assert [event.result for event in events] == [0, 1, 2, 3]
    assert [result.prompt for result in results] == [0, 0, 1, 1]


@pytest.mark.parametrize("beams", [1, 2])
def test_cancelling_keeps_what_there_is(beams):
    asked = []

    def cancelled():
        asked.append(True)
        return len(asked) == 3

    decoder = BigramDecoder(chain(*range(10)))
    settings = GenerationSettings(num_beams=beams, eos_token_id=2)
    results = generate(decoder, [[4], [1]], settings, decode=spell, cancelled=cancelled)
    assert (results[0].token_ids, results[0].text, results[0].finish_reason) == ((5, 6, 7), "fgh", "cancelled")
    assert (results[1].token_ids, results[1].finish_reason) == ((2,), "eos")
    assert len(asked) == 3


def test_cancelling_gives_the_text_that_was_held_back():
    decoder = BigramDecoder(chain(*range(10)))
    asked = GenerationSettings(stop_strings="bcx")
    [result] = generate(decoder, [[0]], asked, decode=spell, cancelled=lambda: len(decoder.rows[0]) == 2)
    assert (result.text, result.finish_reason) == ("bc", "cancelled")


def test_leaving_a_stream_early_runs_no_step_more():
    decoder = BigramDecoder(chain(*range(10)))
    for token in stream(decoder, [[0]]):
        if token.token_id == 3:
            break
    assert decoder.rows == [[0, 1, 2]]


def test_numpy_prompts():
    table = chain(*range(10))
    assert answers(table, np.array([[0, 1], [2, 3]]), max_new_tokens=1)[1].token_ids == (4,)
    assert answers(table, [np.array([0]), [1, 2]], max_new_tokens=1)[1].token_ids == (3,)


@pytest.mark.parametrize("run", [generate, stream])
@pytest.mark.parametrize(
    "prompts, message",
    [
        ([], "generation takes at least one prompt, found an empty batch"),
        ([[1], []], "prompts[1] has no tokens: give it at least one"),
        ([[1, 10]], "prompts[0][1] is 10: expected a token id from 0 to 9"),
        ([[-1]], "prompts[0][0] is -1: expected a token id from 0 to 9"),
        ([1, 2], "prompts[0] must be a row of token ids, found int; for one prompt, [ids]"),
        (["ab"], "prompts[0] must be a row of token ids, found str"),
        ([[1.0]], "prompts[0] must be a row of token ids, found list"),
        ("ab", "prompts must be a list of rows of token ids, found str"),
        (5, "prompts must be a list of rows of token ids, found int"),
        ([[0] * 6], "prompts[0] has 6 tokens, and the model's context holds 6, generated ones included: shorten the"),
    ],
)
def test_bad_prompts_are_refused_before_the_model_runs(run, prompts, message):
    decoder = BigramDecoder(chain(0, 1), context_length=6)
    with pytest.raises(InputError, match="^" + re.escape(message)):
        run(decoder, prompts)
    assert decoder.sizes == []


@pytest.mark.parametrize("name", ["eos_token_id", "forced_bos_token_id", "forced_eos_token_id"])
def test_tokens_that_the_model_lacks_are_refused(name):
    with pytest.raises(InputError, match=f"{name} 10 is no token of the model: its vocabulary ends at 9"):
        answers(chain(0, 1), [[0]], **{name: 10})


def test_padding_that_the_model_lacks_is_padding_all_the_same():
    results = answers(chain(0, 1, 2), [[0], [3, 1]], pad_token_id=10, max_new_tokens=1)
    assert [result.token_ids for result in results] == [(1,), (2,)]


def test_beam_search_does_not_stream():
    asked = GenerationSettings(num_beams=2)
    decoder = BigramDecoder(chain(0, 1))
    with pytest.raises(InputError, match="num_beams=2 cannot stream tokens"):
        stream(decoder, [[0]], asked)
    with pytest.raises(InputError, match="num_beams=2 cannot stream tokens"):
        generate(decoder, [[0]], asked, on_token=print)


@pytest.mark.parametrize("chosen", [{}, {"do_sample": True, "top_k": 3}, {"num_beams": 2}], ids=str)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_that_overflows_is_named(chosen, value):
    table = chain(0, 1, 2)
    table[2, 4] = value
    table[5, 5] = 20.0
    with pytest.raises(InputError, match=f"the model's scores for prompt 1 hold {value}: it overflows"):
        answers(table, [[5], [0]], **chosen)


@pytest.mark.parametrize("chosen", [{}, {"do_sample": True, "top_p": 0.5}, {"num_beams": 2}], ids=str)
def test_settings_that_leave_no_token_are_named(chosen):
    with pytest.raises(InputError, match="no token is left for prompt 0: the settings rule out every token"):
        answers(np.zeros((4, 4)), [[0, 1]], decode=None, no_repeat_ngram_size=1, max_new_tokens=5, **chosen)


@pytest.mark.parametrize("chosen", [{}, {"num_beams": 2}], ids=str)
def test_logits_of_a_wrong_shape_are_named(chosen):
    decoder = BigramDecoder(np.zeros((4, 4)))
    decoder.table = np.zeros((4, 3), dtype=np.float32)
    decoder._logits = lambda call: decoder.table[:1]
    with pytest.raises(ShapeError, match=r"logits of shape \[1, 3\]: expected \[2, 4\]"):
        generate(decoder, [[0], [1]], GenerationSettings(**chosen))


def test_half_precision_logits():
    decoder = BigramDecoder(chain(0, 1, 2))
    whole = decoder._logits
    decoder._logits = lambda call: whole(call).astype(np.float16)
    asked = GenerationSettings(max_new_tokens=2, logprobs=1)
    assert generate(decoder, [[0]], asked)[0].token_ids == (1, 2)
