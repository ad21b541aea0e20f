"""`generate` and `stream`: from prompts of token ids to results, by greedy decoding, sampling or beam search.

Token ids only: where they come from, and where the model comes from, is the caller's. What each way of choosing does
is in `decode_loop.py` and `beam_search.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from tfgraph.errors import InputError
from tfgraph.generation.beam_search import beam_search
from tfgraph.generation.decode_loop import decode_tokens
from tfgraph.generation.decoder import Decoder
from tfgraph.generation.prompts import PromptBatch, Prompts, make_batch
from tfgraph.generation.results import GeneratedToken, Generation
from tfgraph.generation.settings import GenerationSettings
from tfgraph.generation.stopping import Stopping
from tfgraph.generation.text_stream import Decode

_SINGLE_TOKENS = ("forced_bos_token_id", "forced_eos_token_id")


def generate(
    decoder: Decoder,
    prompts: Prompts,
    settings: GenerationSettings | None = None,
    *,
    decode: Decode | None = None,
    on_token: Callable[[GeneratedToken], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[Generation]:
    """Answer prompts.

    Args:
        decoder: the model. It is left holding the rows of the last step.
        prompts: one row of token ids each, of any lengths; for an encoder-decoder, its start tokens.
        settings: how to choose, when to stop, what to return; greedy decoding if not given.
        decode: the text of token ids, for `Generation.text` and stop strings. The text continues that of the prompt.
        on_token: called with each token as soon as it is chosen; not with beam search, which changes its mind.
        cancelled: asked after each step; once it says True, the results are what there is so far.

    Returns:
        `num_return_sequences` results for each prompt, prompt by prompt; beam search's best first.

    Raises:
        InputError: prompts that are empty or too long for the model's context, token ids outside its vocabulary,
            `on_token` with beam search, stop strings without `decode`, a model that gives NaN, or settings that rule
            out every token.
        ShapeError: the decoder gave logits of another shape than rows and vocabulary.
    """
    settings = settings if settings is not None else GenerationSettings()
    if settings.num_beams > 1:
        if on_token is not None:
            raise InputError(_no_stream(settings))
        batch, stopping = _prepare(decoder, prompts, settings, decode)
        return beam_search(decoder, batch, settings, stopping, cancelled or _never)
    tokens = stream(decoder, prompts, settings, decode=decode, cancelled=cancelled)
    while True:
        try:
            token = next(tokens)
        except StopIteration as end:
            results: list[Generation] = end.value
            return results
        if on_token is not None:
            on_token(token)


def stream(
    decoder: Decoder,
    prompts: Prompts,
    settings: GenerationSettings | None = None,
    *,
    decode: Decode | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Generator[GeneratedToken, None, list[Generation]]:
    """Answer prompts, token by token: `for token in stream(...)`. To stop early, leave the loop.

    The arguments are those of `generate`, and checked at once, before the first token is asked for. The generator
    returns what `generate` does.

    Raises:
        InputError: as `generate` does; and beam search, which has no token to show before its end.
        ShapeError: as `generate` does.
    """
    settings = settings if settings is not None else GenerationSettings()
    if settings.num_beams > 1:
        raise InputError(_no_stream(settings))
    batch, stopping = _prepare(decoder, prompts, settings, decode)
    return decode_tokens(decoder, batch, settings, stopping, cancelled or _never)


def _prepare(
    decoder: Decoder, prompts: Prompts, settings: GenerationSettings, decode: Decode | None
) -> tuple[PromptBatch, Stopping]:
    """The prompts as a batch, and what ends an answer; both checked against the model."""
    given = [("eos_token_id", token_id) for token_id in settings.eos_token_ids]
    given += [(name, getattr(settings, name)) for name in _SINGLE_TOKENS if getattr(settings, name) is not None]
    for name, token_id in given:
        if token_id >= decoder.vocab_size:
            raise InputError(
                f"{name} {token_id} is no token of the model: its vocabulary ends at {decoder.vocab_size - 1}"
            )
    stopping = Stopping(settings, decode)
    return make_batch(prompts, settings.padding_id, decoder.vocab_size, decoder.context_length), stopping


def _no_stream(settings: GenerationSettings) -> str:
    return (
        f"num_beams={settings.num_beams} cannot stream tokens: beam search may change its mind about the first one "
        "until the end; set num_beams=1, or call generate without on_token"
    )


def _never() -> bool:
    return False
