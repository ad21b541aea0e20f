"""Answers of a model for people and for scripts: one way to print, and one to write as JSON, for each kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.text import Text

from tfgraph.artefact import EMBEDDING_OUTPUT, Artefact
from tfgraph.cli.console import table
from tfgraph.predictions import PREDICTIONS, Answer, Choice, Classification, MaskedToken, TokenLabel

if TYPE_CHECKING:
    from tfgraph.ir.constant import Array

_SHOWN_VALUES = 4  # of a vector
_MOST_COMPARED = 12  # texts in a table of similarities
_LONGEST_TEXT = 60  # characters of a text in a table


def answers_as_json(artefact: Artefact, texts: Sequence[Any], top: int) -> dict[str, Any]:
    """The answers as plain data."""
    if EMBEDDING_OUTPUT in artefact.manifest.outputs:
        vectors = artefact.encode(texts)
        results = [{"text": text, "embedding": row} for text, row in zip(texts, vectors.tolist(), strict=True)]
        return {"task": artefact.task, "results": results}
    if artefact.task == "multiple-choice":
        return {"task": artefact.task, "texts": texts, "result": dataclasses.asdict(_choose(artefact, texts))}
    if artefact.task not in PREDICTIONS:
        outputs = artefact.run(artefact.inputs_of(texts))
        arrays = {name: {"shape": list(array.shape), "values": array.tolist()} for name, array in outputs.items()}
        return {"task": artefact.task, "texts": texts, "outputs": arrays}
    answers = artefact.predict(texts, top=top)
    return {
        "task": artefact.task,
        "results": [{"text": text, "answer": _plain(answer)} for text, answer in zip(texts, answers, strict=True)],
    }


def _plain(answer: Any) -> Any:
    if isinstance(answer, tuple):
        return [dataclasses.asdict(part) for part in answer]
    return dataclasses.asdict(answer)


def _choose(artefact: Artefact, texts: Sequence[Any]) -> Choice:
    (choice,) = artefact.predict([list(texts)])
    chosen: Choice = choice
    return chosen


def print_answers(console: Console, artefact: Artefact, texts: Sequence[Any], top: int) -> None:
    """The answers as tables."""
    if EMBEDDING_OUTPUT in artefact.manifest.outputs:
        _print_embeddings(console, texts, artefact.encode(texts))
    elif artefact.task == "multiple-choice":
        _print_choice(console, texts, _choose(artefact, texts))
    elif artefact.task not in PREDICTIONS:
        _print_outputs(console, artefact.run(artefact.inputs_of(texts)))
    else:
        answers = artefact.predict(texts, top=top)
        if isinstance(answers[0], Classification):
            _print_classes(console, texts, answers)
        elif isinstance(answers[0], Answer):
            _print_spans(console, texts, answers)
        else:
            for text, answer in zip(texts, answers, strict=True):
                console.print(table(_shown(text), *_rows_of(answer), left=2))


def _print_embeddings(console: Console, texts: Sequence[Any], vectors: Array) -> None:
    norms = np.linalg.norm(vectors, axis=1)
    rows = [
        [str(number), _shown(text), f"{norm:.4f}", " ".join(f"{value:+.4f}" for value in vector[:_SHOWN_VALUES]) + " …"]
        for number, (text, norm, vector) in enumerate(zip(texts, norms, vectors, strict=True), 1)
    ]
    title = f"Sentence embeddings, {vectors.shape[1]} dimensions"
    console.print(table(title, ["", "Text", "Norm", "First values"], rows, left=2))
    if 1 < len(texts) <= _MOST_COMPARED:
        unit = vectors / np.maximum(norms, 1e-12)[:, None]
        header = ["", *(str(number) for number in range(1, len(texts) + 1))]
        cosines = [[str(number), *(f"{cosine:.3f}" for cosine in row)] for number, row in enumerate(unit @ unit.T, 1)]
        console.print(table("Cosine similarity", header, cosines))


def _print_classes(console: Console, texts: Sequence[Any], answers: Sequence[Classification]) -> None:
    rows = [
        [_shown(text), answer.label, f"{answer.score:.4f}", _others(answer)]
        for text, answer in zip(texts, answers, strict=True)
    ]
    console.print(table("Labels", ["Text", "Label", "Score", "Others"], rows, left=2))


def _others(answer: Classification) -> str:
    ranked = sorted(answer.scores.items(), key=lambda item: -item[1])
    return ", ".join(f"{label} {score:.4f}" for label, score in ranked[1:4])


def _print_spans(console: Console, texts: Sequence[Any], answers: Sequence[Answer]) -> None:
    rows = [
        [text[0], answer.text, f"{answer.start} to {answer.end}", f"{answer.score:.4f}"]
        for text, answer in zip(texts, answers, strict=True)
    ]
    console.print(table("Answers", ["Question", "Answer", "Characters", "Score"], rows, left=2))


def _print_choice(console: Console, texts: Sequence[Any], choice: Choice) -> None:
    rows = [
        [_shown(text), "chosen" if index == choice.best else "", f"{score:.4f}"]
        for index, (text, score) in enumerate(zip(texts, choice.scores, strict=True))
    ]
    console.print(table("Choices", ["Text", "", "Score"], rows, left=2))


def _print_outputs(console: Console, outputs: dict[str, Array]) -> None:
    rows = [
        [name, f"{array.dtype}{list(array.shape)}", f"{array.mean():.4f}", f"{array.std():.4f}"]
        for name, array in outputs.items()
    ]
    console.print(table("Outputs", ["Output", "Type", "Mean", "Deviation"], rows, left=2))
    console.print(Text("--json prints all of their values."))


def _rows_of(answer: Sequence[MaskedToken] | Sequence[TokenLabel]) -> tuple[list[str], list[list[str]]]:
    """The columns and the rows for one text."""
    labels = [part for part in answer if isinstance(part, TokenLabel)]
    if labels:
        rows = [[each.token, each.label, f"{each.score:.4f}", f"{each.start} to {each.end}"] for each in labels]
        return ["Token", "Label", "Score", "Characters"], rows
    masks = [part for part in answer if isinstance(part, MaskedToken)]
    rows = [
        [f"mask at token {mask.position}" if not rank else "", choice.token, f"{choice.score:.4f}"]
        for mask in masks
        for rank, choice in enumerate(mask.choices)
    ]
    return ["", "Token", "Probability"], rows


def _shown(text: Any) -> str:
    """A text, or a pair of texts, short enough for a table."""
    whole = text if isinstance(text, str) else " | ".join(text)
    return whole if len(whole) <= _LONGEST_TEXT else f"{whole[: _LONGEST_TEXT - 1]}…"
