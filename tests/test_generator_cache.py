"""The cache that a `Generator` keeps between calls: whatever came before, a call gives what a new `Generator` gives."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tfgraph
from tests.generator_exports import PROMPTS, SHAPES, Exports, exporting
from tfgraph.errors import InputError, TargetError

CACHES = [None, 40]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """A transformers model and our export of it."""
    return exporting(tmp_path_factory)


@pytest.fixture
def widths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens each run of a model with a cache is given."""
    from tfgraph.backends.onnxruntime.cache import GrowingCache
    from tfgraph.backends.onnxruntime.fixed_cache import FixedCache

    found: list[int] = []

    def recording(run: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(cache: Any, inputs: Any) -> Any:
            found.append(inputs["input_ids"].shape[1])
            return run(cache, inputs)

        return recorded

    for kind in (GrowingCache, FixedCache):
        monkeypatch.setattr(kind, "run", recording(kind.run))
    return found


def tokens(generator: tfgraph.Generator, prompts: Any, **settings: Any) -> list[tuple[int, ...]]:
    settings = {"max_new_tokens": 6, "eos_token_id": None, **settings}
    return [result.token_ids for result in generator.generate(prompts, **settings)]


@pytest.mark.parametrize("cache_length", CACHES)
@pytest.mark.parametrize("name", SHAPES)
def test_the_cache_is_kept_across_turns(name: str, cache_length: int | None, exported: Exports) -> None:
    generator = tfgraph.Generator(exported(name, cache_length)[1])
    first = [*PROMPTS[0], *tokens(generator, [PROMPTS[0]])[0]]
    for prompt in ([*first, 17, 8], [*PROMPTS[0][:3], 50, 51], first, first[:4], [17]):
        assert tokens(generator, [prompt]) == tokens(tfgraph.Generator(generator.model), [prompt])


@pytest.mark.parametrize("cache_length", CACHES)
def test_a_turn_runs_only_what_is_new(cache_length: int | None, exported: Exports, widths: list[int]) -> None:
    generator = tfgraph.Generator(exported(cache_length=cache_length)[1])
    (answer,) = tokens(generator, [PROMPTS[0]], max_new_tokens=3)
    tokens(generator, [[*PROMPTS[0], *answer, 17]], max_new_tokens=1)
    assert widths == [5, 1, 1, 2]  # the last token of the answer was not run yet


@pytest.mark.parametrize("cache_length", CACHES)
def test_whatever_came_before(cache_length: int | None, exported: Exports) -> None:
    """Singles, batches, beams, several results, streams left half-way, cancelled and failed calls, in any order."""
    generator = tfgraph.Generator(exported(cache_length=cache_length)[1])
    chooser = random.Random(5)

    def cancelled(prompts: Any) -> None:
        tokens(generator, prompts, cancelled=lambda: chooser.random() < 0.5)

    def left(prompts: Any) -> None:
        for token in generator.stream(prompts):
            if token.token_id % 3:
                break

    def failed(prompts: Any) -> None:
        with pytest.raises(ZeroDivisionError):
            tokens(generator, prompts, on_token=lambda token: 1 // (token.token_id % 2 and chooser.randrange(2)))

    def sampled(prompts: Any) -> None:
        tokens(generator, prompts, do_sample=True, num_return_sequences=3)

    def in_beams(prompts: Any) -> None:
        tokens(generator, prompts, num_beams=3)

    before = (cancelled, left, failed, sampled, in_beams)
    text = list(PROMPTS[0])
    for _ in range(25):
        prompts = chooser.choice([[text], PROMPTS, [text[:3]], [[*text, 9]]])
        chooser.choice(before)(prompts)
        again = tokens(generator, [text], max_new_tokens=3)
        assert again == tokens(tfgraph.Generator(generator.model), [text], max_new_tokens=3)
        text = [*text, *again[0]][-20:]


@pytest.mark.parametrize("cache_length", CACHES)
def test_a_run_that_fails(cache_length: int | None, exported: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = tfgraph.Generator(exported(cache_length=cache_length)[1])
    cache = generator._decoder._cache
    run, left = cache.run, [3]

    def failing(inputs: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise TargetError("out of memory")
        return run(inputs)

    monkeypatch.setattr(cache, "run", failing)
    for runs in range(1, 5):
        left[0] = runs
        with pytest.raises(TargetError):
            tokens(generator, [PROMPTS[0]])
        expected = tokens(tfgraph.Generator(generator.model), [PROMPTS[0]])
        assert tokens(generator, [PROMPTS[0]]) == expected


def test_an_interruption_while_the_cache_is_cut(exported: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfgraph.backends.onnxruntime import cache

    generator = tfgraph.Generator(exported()[1])
    tokens(generator, [PROMPTS[0]])
    convert, calls = cache.to_ort_value, [0]

    def interrupted(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 2:  # one of the layers' tensors is cut, the others are not
            raise KeyboardInterrupt
        return convert(*arguments)

    monkeypatch.setattr(cache, "to_ort_value", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tokens(generator, [[*PROMPTS[0][:2], 8]])
    assert tokens(generator, [PROMPTS[0]]) == tokens(tfgraph.Generator(generator.model), [PROMPTS[0]])


def test_a_step_of_an_encoder_decoder_passes_only_its_token(exported: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfgraph.backends.onnxruntime import cache

    generator = tfgraph.Generator(exported("T5ForConditionalGeneration")[1])
    convert, calls = cache.to_ort_value, [0]

    def counted(*arguments: Any) -> Any:
        calls[0] += 1
        return convert(*arguments)

    monkeypatch.setattr(cache, "to_ort_value", counted)
    counts = []
    for num_tokens in (1, 2, 6):
        calls[0] = 0
        tokens(generator, PROMPTS, max_new_tokens=num_tokens)
        counts.append(calls[0])
    assert counts[1] - counts[0] == 1
    assert counts[2] - counts[1] == 4


def test_what_is_left_behind_the_known_tokens_does_not_matter(exported: Exports) -> None:
    generator = tfgraph.Generator(exported(cache_length=40)[1])
    expected = tokens(generator, PROMPTS), tokens(generator, [PROMPTS[0]])
    for buffer in generator._decoder._cache._buffers.values():
        buffer[:, :, 5:] = np.nan
    assert tokens(generator, [PROMPTS[0]]) == expected[1]
    tokens(generator, PROMPTS, max_new_tokens=1)
    for buffer in generator._decoder._cache._buffers.values():
        buffer.fill(np.nan)
    assert tokens(generator, PROMPTS) == expected[0]


@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "T5ForConditionalGeneration"])
def test_two_streams_at_once(name: str, exported: Exports) -> None:
    generator = tfgraph.Generator(exported(name)[1])
    (expected,) = tokens(generator, [PROMPTS[1]])
    first = generator.stream([PROMPTS[0]], eos_token_id=None)
    second = generator.stream([PROMPTS[1]], max_new_tokens=6, eos_token_id=None)
    next(first)
    assert tuple(token.token_id for token in second) == expected
    with pytest.raises(InputError, match="a stream cannot go on after a later call of its Generator"):
        next(first)


def test_streams_are_run_in_the_order_in_which_they_are_read(exported: Exports) -> None:
    generator = tfgraph.Generator(exported("T5ForConditionalGeneration")[1])
    expected = [tokens(generator, [prompt])[0] for prompt in PROMPTS]
    streams = [generator.stream([prompt], max_new_tokens=6, eos_token_id=None) for prompt in PROMPTS]
    assert [tuple(token.token_id for token in each) for each in streams] == expected


def test_two_generators_of_one_model_at_once(exported: Exports) -> None:
    model = tfgraph.open(exported()[1])
    expected = tokens(tfgraph.Generator(model), PROMPTS)
    streams = [tfgraph.Generator(model).stream([prompt], max_new_tokens=6, eos_token_id=None) for prompt in PROMPTS]
    turns = list(zip(*streams, strict=True))
    assert [tuple(token.token_id for token in each) for each in zip(*turns, strict=True)] == expected


def test_two_threads_at_once(exported: Exports) -> None:
    from tfgraph.turns import Turn, Turns

    inside, go_on = threading.Event(), threading.Event()

    class Slow:
        vocab_size, context_length = 4, None

        def start(self, input_ids: Any, attention_mask: Any) -> Any:
            inside.set()
            go_on.wait(10)
            return np.zeros((1, 4), np.float32)

        step = select = None

    turns = Turns(Slow())  # type: ignore[arg-type]
    ids = np.ones((1, 1), np.int64)
    thread = threading.Thread(target=lambda: Turn(turns).start(ids, ids))
    thread.start()
    try:
        assert inside.wait(10)
        with pytest.raises(InputError, match="used by two threads at once"):
            Turn(turns).start(ids, ids)
    finally:
        go_on.set()
        thread.join()
    assert Turn(turns).start(ids, ids).shape == (1, 4)


@pytest.mark.parametrize("cache_length", CACHES)
def test_half_precision(cache_length: int | None, exported: Exports) -> None:
    """The cache is of float16 too; padding rows, which attend to nothing, change no text."""
    generator = tfgraph.Generator(exported(cache_length=cache_length, dtype="float16")[1])
    alone = [tokens(generator, [prompt])[0] for prompt in PROMPTS]
    assert tokens(generator, PROMPTS) == alone
    assert tokens(tfgraph.Generator(exported()[1]), PROMPTS) == alone
