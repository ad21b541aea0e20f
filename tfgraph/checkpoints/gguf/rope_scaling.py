"""How a rotary embedding is stretched beyond the lengths it was trained with, as `rope_scaling` in `config.json`.

GGUF has keys for linear and YaRN scaling. Of LLaMA 3's rule and of Phi-3's LongRoPE it holds the resulting factors
alone, as tensors; the first are turned back into the rule's parameters, the second are the parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfgraph.checkpoints.gguf.header import TensorInfo
from tfgraph.checkpoints.gguf.settings import Settings
from tfgraph.checkpoints.gguf.tensors import constant_of
from tfgraph.errors import CheckpointError
from tfgraph.ir.constant import Array

# what every LLaMA from 3.1 on was published with
_LOW_FREQUENCY_FACTOR, _HIGH_FREQUENCY_FACTOR, _ORIGINAL_LENGTH = 1.0, 4.0, 8192
_MOST_FREQUENCIES = 2**16

# metadata key -> key of `rope_scaling`
_YARN = {
    "rope.scaling.original_context_length": "original_max_position_embeddings",
    "rope.scaling.yarn_beta_fast": "beta_fast",
    "rope.scaling.yarn_beta_slow": "beta_slow",
}


def rope_scaling(
    settings: Settings, name: str, tensors: Mapping[str, TensorInfo], config: Mapping[str, Any]
) -> dict[str, Any]:
    """`{"rope_scaling": {...}}`, or nothing for a model whose rotary embedding is not scaled.

    `name` is the architecture's, under which its keys are; `config` must have `rope_theta`.

    Raises:
        CheckpointError: a scaling of an unknown kind, or factors that LLaMA 3's rule does not give.
    """
    if "rope_freqs.weight" in tensors:
        factors = _factors(settings.path, tensors["rope_freqs.weight"])
        scaling = _llama3(settings.path, factors, float(config["rope_theta"]))
        return {"rope_scaling": scaling} if scaling else {}
    if "rope_factors_long.weight" in tensors and "rope_factors_short.weight" in tensors:
        return {
            "rope_scaling": {
                "type": "longrope",
                "long_factor": _shortest(_factors(settings.path, tensors["rope_factors_long.weight"])),
                "short_factor": _shortest(_factors(settings.path, tensors["rope_factors_short.weight"])),
            }
        }
    kind = settings.text(f"{name}.rope.scaling.type")
    factor = settings.number(f"{name}.rope.scaling.factor")
    if kind is None and factor is None:  # files of before October 2023
        kind, factor = "linear", settings.number(f"{name}.rope.scale_linear")
    if kind in (None, "none") or factor in (None, 1):
        return {}
    if kind not in ("linear", "yarn"):
        raise CheckpointError(
            f"{settings.path}: the rotary embedding is scaled by the rule {kind!r}, and the file lacks its factors; "
            "expected 'none', 'linear' or 'yarn', or tensors with the factors"
        )
    scaling = {"rope_type": kind, "factor": float(factor or 1)}
    for key, wanted in _YARN.items() if kind == "yarn" else ():
        value = settings.number(f"{name}.{key}")
        if value is not None:
            scaling[wanted] = value
    return {"rope_scaling": scaling}


def llama3_factors(theta: float, num_frequencies: int, factor: float) -> Array:
    """What each frequency is divided by under LLaMA 3's rule, [num_frequencies], for the published parameters.

    From the reference code of LLaMA 3.1 (`apply_scaling`): frequencies of a wavelength below 8192 / 4 stay, those above
    8192 / 1 are divided by `factor`, and between the two the rule interpolates.
    """
    frequencies = theta ** (-np.arange(num_frequencies, dtype=np.float64) / num_frequencies)
    turns = _ORIGINAL_LENGTH * frequencies / (2 * math.pi)  # in the original context
    smooth = (turns - _LOW_FREQUENCY_FACTOR) / (_HIGH_FREQUENCY_FACTOR - _LOW_FREQUENCY_FACTOR)
    smooth = np.clip(smooth, 0, 1)
    factors: Array = 1 / ((1 - smooth) / factor + smooth)
    return factors


def _llama3(path: Path, factors: Array, theta: float) -> dict[str, Any]:
    factor = float(factors.max())
    if (factors == 1).all():
        return {}
    if theta > 0 and np.allclose(factors, llama3_factors(theta, len(factors), factor), rtol=1e-3, atol=0):
        return {
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": _LOW_FREQUENCY_FACTOR,
            "high_freq_factor": _HIGH_FREQUENCY_FACTOR,
            "original_max_position_embeddings": _ORIGINAL_LENGTH,
        }
    raise CheckpointError(
        f"{path}: the factors in tensor 'rope_freqs.weight' are not those of LLaMA 3's rule with factor {factor:g}, "
        "and no other rule is known that leaves its factors there. Read the model from its Hugging Face folder"
    )


def _factors(path: Path, info: TensorInfo) -> Array:
    """The elements of a short tensor of positive factors, as float64."""
    if len(info.shape) != 1 or info.shape[0] > _MOST_FREQUENCIES:
        raise CheckpointError(f"{path}: tensor {info.name!r} has the shape {list(info.shape)}; expected one axis")
    factors: Array = constant_of(info).numpy().astype(np.float64)
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise CheckpointError(f"{path}: tensor {info.name!r} must hold positive numbers; the file is damaged")
    return factors


def _shortest(factors: Array) -> list[float]:
    """Each as the shortest decimal that is the same float32."""
    return [float(str(factor)) for factor in factors.astype(np.float32)]
