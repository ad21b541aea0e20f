"""Norms without a weight (`passes/canonical/norms.py`)."""

from __future__ import annotations

import numpy as np

from tfgraph.dsl import functional as F

F32 = np.float32
WEIGHT = np.linspace(0.5, 1.5, 8, dtype=F32)
STANDARDISED = {"Mul": 2, "ReduceMean": 1, "Add": 1, "Sqrt": 1, "Div": 1}


def standardise(x, axis=-1):
    return x / F.sqrt(F.reduce_mean(x * x, (axis,)) + 1e-5)


def test_what_is_standardised_gets_a_weight_of_ones(fires):
    fires("weigh_by_ones", standardise, STANDARDISED, x="batch seq 8")
    scaled = {**STANDARDISED, "Mul": 3}
    fires("weigh_by_ones", lambda x, y: standardise(x) * y, scaled, x="batch seq 8", y="batch 1 8")


def test_what_has_a_weight_or_is_no_standardisation_stays(leaves):
    leaves("weigh_by_ones", lambda x: standardise(x) * WEIGHT, x="batch seq 8")
    leaves("weigh_by_ones", lambda x: F.cast(standardise(x), "float16") * WEIGHT.astype(np.float16), x="batch seq 8")
    leaves("weigh_by_ones", lambda x: standardise(x, -2), x="batch seq 8")  # over another axis
    leaves("weigh_by_ones", lambda x, y: y / F.sqrt(F.reduce_mean(x * x, (-1,)) + 1e-5), x="batch 8", y="batch 8")
    leaves("weigh_by_ones", lambda x: x / (F.sqrt(F.reduce_mean(x * x, (-1,))) + 1e-5), x="batch 8")
    leaves("weigh_by_ones", standardise, x="batch 3 seq")  # how many ones is not known


def test_ones_in_front_of_a_weight_go(fires):
    ones = np.ones(8, F32)
    fires("drop_unit_weight", lambda x: x * ones * WEIGHT, {"Mul": 1}, x="batch seq 8")


def test_other_weights_in_front_of_a_weight_stay(leaves):
    leaves("drop_unit_weight", lambda x: x * WEIGHT * WEIGHT, x="batch seq 8")
    leaves("drop_unit_weight", lambda x, y: x * np.ones(8, F32) * y, x="batch seq 8", y="batch seq 8")
    leaves("drop_unit_weight", lambda x: x * np.ones(8, F32) * WEIGHT, x="batch seq 1")  # the ones widen it


def test_a_norm_without_a_weight_is_fused(optimise):
    def layer_norm(x):
        centred = x - F.reduce_mean(x, (-1,))
        return centred / F.sqrt(F.reduce_mean(centred * centred, (-1,)) + 1e-5)

    assert optimise(layer_norm, x="batch seq 8").operators == {"LayerNormalization": 1}
    done = optimise(lambda x, y: F.sin(standardise(x)) + standardise(x) * y, x="batch seq 8", y="batch seq 8")
    assert "ReduceMean" not in done.operators
