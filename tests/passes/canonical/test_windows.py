"""Masks of windows (`passes/canonical/windows.py`)."""

from __future__ import annotations

import numpy as np

from tfgraph.dsl import functional as F

MASK = np.where(np.arange(5 * 5 * 2).reshape(1, 2, 1, 5, 5) % 3 == 0, -100.0, 0.0).astype(np.float32)
SIZES = ({"images": 3}, {"images": 1})


def masked(image, mask=MASK, windows=2):
    """[images * windows, 4, 5, 5] and back, with a mask for each window of an image in between."""
    scores = F.reshape(image, (image.shape[0] * windows, 4, 5, 5))
    apart = F.reshape(F.sin(scores), (image.shape[0], windows, 4, 5, 5)) + mask
    return F.reshape(apart, scores.shape)


def test_the_mask_of_each_window_is_repeated_for_every_image(fires):
    expected = {"Reshape": 2, "Sin": 1, "Shape": 1, "Concat": 2, "Expand": 1, "Add": 1}
    fires("mask_by_window", masked, expected, image="images 2 4 5 5", sizes=SIZES)
    fixed = {**expected, "Concat": 2}
    del fixed["Shape"]
    fires("mask_by_window", masked, fixed, image="3 2 4 5 5")


def test_other_masks_stay(leaves):
    heads = np.repeat(MASK, 4, 2)
    leaves("mask_by_window", lambda image: masked(image, heads), image="images 2 4 5 5", sizes=SIZES)
    leaves("mask_by_window", lambda image: masked(image, MASK[:, :1]), image="images 2 4 5 5", sizes=SIZES)

    def shared(image):
        scores = F.reshape(image, (6, 4, 5, 5))
        total = F.reshape(F.sin(scores), (3, 2, 4, 5, 5)) + MASK
        return F.reshape(total, scores.shape), total

    leaves("mask_by_window", shared, image="3 2 4 5 5")


def test_windows_of_a_number_of_images_that_no_input_says(optimise, op):
    """Queries, keys and values are given by windows: the number of images is a quotient."""

    def attend(q, k, v):
        scores = F.matmul(q, F.swap_axes(k, -1, -2)) * 0.5  # [windows, 4, 5, 5]
        apart = op("Reshape", scores, np.asarray([-1, 2, 4, 5, 5])) + MASK
        return F.matmul(F.softmax(op("Reshape", apart, np.asarray([-1, 4, 5, 5]))), v)

    operand = "windows 4 5 6"
    done = optimise(attend, q=operand, k=operand, v=operand, sizes=({"windows": 6}, {"windows": 2}))
    assert done.operators["Attention"] == 1
