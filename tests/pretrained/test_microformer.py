"""A published GPT-2 in a torch file, from the file to its answers: the general model of microformer-mgm.

Its texts are lists of microbes, so prompts are ids. The oracle is transformers, which reads the file with torch.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

import tfgraph as tg
from tests.models.parity import relative_error

PROMPTS = [[2, 100, 57, 1200, 9000, 33], [2, 4, 5], [2, 7, 1500, 2500, 3500, 4500, 5500, 6500, 7500]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model."""
    found = importlib.util.find_spec("mgm")
    if found is None or found.origin is None:
        pytest.skip("the model is not installed: pip install --no-deps microformer-mgm==0.5.8")
    return Path(found.origin).parent / "resources" / "general_model"


@pytest.fixture(scope="module")
def theirs(checkpoint, tmp_path_factory):
    from transformers import GPT2LMHeadModel

    return GPT2LMHeadModel.from_pretrained(checkpoint).eval()


@pytest.fixture(scope="module")
def generator(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tg.Generator:
    out = tmp_path_factory.mktemp("microformer")
    tg.export(tg.load(checkpoint), out)
    return tg.Generator(out)


def padded() -> tuple[np.ndarray, np.ndarray]:
    """The prompts as ids and mask [3, 9], padded on the left."""
    ids = np.zeros((3, 9), np.int64)
    mask = np.zeros_like(ids)
    for row, prompt in enumerate(PROMPTS):
        ids[row, -len(prompt) :], mask[row, -len(prompt) :] = prompt, 1
    return ids, mask


@pytest.mark.parametrize("file", ["", "pytorch_model.bin"])
def test_logits_are_those_of_transformers(checkpoint, theirs, file):
    import torch

    ids, mask = padded()
    inputs = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
    positions = torch.from_numpy(np.maximum(mask.cumsum(1) - 1, 0))
    with torch.no_grad():
        expected = theirs(**inputs, position_ids=positions).logits.numpy()
    model = tg.compile(tg.load(checkpoint / file, task="causal-lm"))
    logits = model.run({"input_ids": ids, "attention_mask": mask})["logits"]
    assert relative_error(logits, expected, mask == 1) <= 1e-5


@pytest.mark.parametrize("num_beams", [1, 3])
def test_answers_are_those_of_transformers(theirs, generator, num_beams):
    import torch

    ids, mask = padded()
    expected = theirs.generate(
        torch.from_numpy(ids),
        attention_mask=torch.from_numpy(mask),
        max_new_tokens=24,
        do_sample=False,
        num_beams=num_beams,
    ).numpy()[:, ids.shape[1] :]
    answers = generator.generate(PROMPTS, max_new_tokens=24, num_beams=num_beams)
    for answer, row in zip(answers, expected, strict=True):
        tokens = list(answer.token_ids)
        assert tokens == row[: len(tokens)].tolist()
        assert set(row[len(tokens) :]) <= {0, 3}  # padding, after an end token
    assert max(len(answer.token_ids) for answer in answers) >= 12


def test_the_settings_of_its_generation_config(generator):
    assert generator.settings.eos_token_ids == (3,)
    assert generator.settings.pad_token_id == 0


def test_what_a_trainer_leaves_beside_the_weights_is_not_read(checkpoint, tmp_path):
    assert (checkpoint / "training_args.bin").is_file()
    shutil.copytree(checkpoint, tmp_path / "model")
    (tmp_path / "model" / "training_args.bin").write_bytes(b"never read")
    assert tg.load(tmp_path / "model").module.num_parameters() == tg.load(checkpoint).module.num_parameters()
