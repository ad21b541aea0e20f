"""Zeros and ones that stand for booleans (`passes/canonical/choices.py`)."""

from __future__ import annotations

import numpy as np

from tfgraph.dsl import functional as F

F32 = np.float32
LOWEST = -3.4028234663852886e38
TRIANGLE = np.tril(np.ones((1, 1, 7, 7), F32))


def test_a_sum_with_a_table_of_zeros_and_ones_is_a_choice(fires):
    def openai_gpt(x):
        seen = TRIANGLE[..., :5, :7] * np.ones((1, 1, 1, 1), F32)
        kept = F.as_tensor(seen)
        return F.multiply(x, kept) * 0.5 + F.multiply(F.subtract(1.0, kept), -10000.0)

    fires("mask_by_choice", openai_gpt, {"Cast": 1, "Mul": 1, "Where": 1}, x="2 4 5 7")


def test_a_slice_of_such_a_table_is_one(fires):
    def sliced(x):
        kept = F.as_tensor(TRIANGLE)[:, :, :5, :]
        return F.multiply(F.subtract(1.0, kept), -10000.0) + F.multiply(x, kept)

    fires("mask_by_choice", sliced, {"Cast": 1, "Slice": 1, "Where": 1}, x="2 4 5 7")


def test_a_table_of_other_numbers_is_no_choice(leaves):
    def weighted(x):
        kept = F.as_tensor(TRIANGLE * F32(0.5))[:, :, :5, :]
        return F.multiply(x, kept) + F.multiply(F.subtract(1.0, kept), -10000.0)

    def of_two_tables(x):
        kept, other = (F.as_tensor(table)[:, :, :5, :] for table in (TRIANGLE, TRIANGLE[..., ::-1].copy()))
        return F.multiply(x, kept) + F.multiply(F.subtract(1.0, other), -10000.0)

    leaves("mask_by_choice", weighted, x="2 4 5 7")
    leaves("mask_by_choice", of_two_tables, x="2 4 5 7")


def test_a_mask_as_a_boolean_is_what_chose_it(fires):
    fires("choice_is_test", lambda m: F.cast(F.where(m, 1.0, 0.0), "bool"), {}, m="bool batch 7")
    fires("choice_is_test", lambda m: F.cast(F.where(m, 0.0, LOWEST), "bool"), {"Not": 1}, m="bool batch 7")


def test_other_choices_as_booleans_stay(leaves):
    leaves("choice_is_test", lambda m: F.cast(F.where(m, 1.0, 2.0), "bool"), m="bool batch 7")
    leaves("choice_is_test", lambda m: F.cast(F.where(m, 0.0, 0.0), "bool"), m="bool batch 7")
    leaves("choice_is_test", lambda m, x: F.cast(F.where(m, x, 0.0), "bool"), m="bool batch 7", x="batch 7")
    leaves("choice_is_test", lambda m: F.cast(F.where(m, 1.0, 0.0), "int64"), m="bool batch 7")
    spread = np.ones((3, 1, 1), F32)
    leaves("choice_is_test", lambda m: F.cast(F.where(m, spread[:1], 0.0), "bool"), m="bool batch 7")  # more axes


def test_two_negations_cancel(fires, leaves):
    fires("drop_double_negation", lambda m: F.logical_not(F.logical_not(m)), {}, m="bool batch 7")
    leaves("drop_double_negation", lambda m: F.logical_not(m), m="bool batch 7")
