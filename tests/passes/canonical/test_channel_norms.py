"""Norms over another axis than the last (`passes/canonical/channel_norms.py`)."""

from __future__ import annotations

import numpy as np
import pytest

from tfgraph.dsl import functional as F

IMAGE = "batch 6 3 5"
WEIGHT = np.linspace(0.5, 1.5, 6).astype(np.float32).reshape(6, 1, 1)


def mean(x, axis=-3):
    return F.reduce_mean(x, (axis,))


def layer(x, axis=-3):
    centred = x - mean(x, axis)
    return centred / F.sqrt(mean(centred * centred, axis) + 1e-6)


def rms(x):
    return x / F.sqrt(mean(x * x) + 1e-6)


@pytest.mark.parametrize("norm", [layer, rms])
def test_a_norm_of_channels_is_one_norm(optimise, run_onnxruntime, norm):
    key = {layer: "LayerNormalization", rms: "RMSNormalization"}[norm]
    done = optimise(lambda x: norm(x) * WEIGHT, x=IMAGE)
    assert done.operators == {"Transpose": 2, key: 1}
    run_onnxruntime(done)
    biased = optimise(lambda x: layer(x) * WEIGHT + WEIGHT, x=IMAGE)
    assert biased.operators == {"Transpose": 2, "LayerNormalization": 1}


def test_the_axis_is_moved_to_the_end_and_back(fires):
    centring, statistics = {"ReduceMean": 2, "Sub": 1}, {"Mul": 1, "Add": 1, "Sqrt": 1, "Div": 1}
    fires("standardise_channels", layer, {**centring, **statistics, "Transpose": 2}, x=IMAGE)
    fires("standardise_channels", rms, {**statistics, "ReduceMean": 1, "Transpose": 2}, x=IMAGE)

    def weighed(x):
        moved = F.transpose(x, (0, 2, 3, 1))
        scaled = moved / F.sqrt(mean(moved * moved, -1) + 1e-6)
        return F.transpose(scaled, (0, 3, 1, 2)) * WEIGHT

    expected = {**statistics, "Mul": 2, "ReduceMean": 1, "Transpose": 2, "Reshape": 1}
    fires("weigh_channels", weighed, expected, x=IMAGE)


def test_other_norms_stay(leaves):
    leaves("standardise_channels", lambda x: layer(x, -1), x=IMAGE)
    leaves("standardise_channels", lambda x: layer(x, 2), x="batch 6 seq 5")  # of no fixed size
    leaves("standardise_channels", lambda x: x / F.sqrt(F.reduce_mean(x * x, (1, 2)) + 1e-6), x=IMAGE)
    leaves("standardise_channels", lambda x, y: y / F.sqrt(mean(x * x) + 1e-6), x=IMAGE, y=IMAGE)
    leaves("standardise_channels", lambda x: x / (F.sqrt(mean(x * x)) + 1e-6), x=IMAGE)


def test_other_weights_stay(leaves):
    leaves("weigh_channels", lambda x: F.transpose(x, (0, 3, 1, 2)) * WEIGHT, x="batch 3 5 6")  # no norm

    def along_another(x):
        scaled = x / F.sqrt(mean(x * x, -1) + 1e-6)
        return F.transpose(scaled, (0, 3, 1, 2)) * np.ones((3, 1), np.float32)

    leaves("weigh_channels", along_another, x="batch 3 5 6")
