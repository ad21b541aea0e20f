"""The settings of rotary positions, wherever a configuration has them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tfgraph.errors import ConfigError
from tfgraph.models.rotary_settings import RotarySettings, read_rotary_settings, require_positive_number


@pytest.mark.parametrize(
    "given",
    [
        {"rope_parameters": {"rope_theta": 500, "partial_rotary_factor": 0.5, "rope_type": "default"}},
        {"rope_theta": 500, "partial_rotary_factor": 0.5, "rope_scaling": None},
        {"rope_theta": 500, "rope_parameters": {"partial_rotary_factor": 0.5}},
        {"rope_theta": 9, "partial_rotary_factor": 0.5, "rope_parameters": {"rope_theta": 500}},
        {
            "rope_theta": None,
            "rope_scaling": {"rope_theta": 500, "partial_rotary_factor": 0.5},
            "rope_parameters": None,
        },
    ],
)
def test_places_and_their_order(given: dict[str, Any]) -> None:
    settings = read_rotary_settings(given, "config.json")
    assert (settings.base, settings.fraction, settings.kind) == (500.0, 0.5, "default")


def test_what_holds_if_nothing_is_said() -> None:
    assert read_rotary_settings({}, "config.json") == RotarySettings(10000.0, 1.0)
    assert read_rotary_settings({}, "config.json", base=100.0, fraction=0.25) == RotarySettings(100.0, 0.25)


def test_names_of_a_familys_own() -> None:
    given = {"rotary_emb_base": 7, "rotary_pct": 0.5, "rope_theta": 3, "partial_rotary_factor": 1.0}
    settings = read_rotary_settings(given, "config.json", base_name="rotary_emb_base", fraction_name="rotary_pct")
    assert (settings.base, settings.fraction) == (7.0, 0.5)


@pytest.mark.parametrize("key", ["type", "rope_type"])
@pytest.mark.parametrize("place", ["rope_parameters", "rope_scaling"])
def test_a_scaling_that_the_family_has(key: str, place: str) -> None:
    inside = {key: "linear", "factor": 2.0}
    settings = read_rotary_settings({place: inside}, "config.json", kinds=("default", "linear"))
    assert (settings.kind, settings.scaling) == ("linear", inside)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rope_scaling": {"type": "linear"}}, "'rope_scaling' scales rotary positions by 'linear': .* is 'default'"),
        ({"rope_parameters": {"rope_type": ["x"]}}, r"'rope_parameters' scales rotary positions by \['x'\]"),
        ({"rope_parameters": 3}, "'rope_parameters' is 3: expected an object"),
        ({"rope_scaling": [2]}, r"'rope_scaling' is \[2\]: expected an object"),
        ({"rope_theta": "10000"}, "'rope_theta' is '10000': expected a positive number$"),
        ({"rope_parameters": {"rope_theta": 0}}, "'rope_theta' is 0: expected a positive number$"),
        ({"partial_rotary_factor": True}, "'partial_rotary_factor' is True: expected a positive number up to 1$"),
        ({"partial_rotary_factor": 1.5}, "'partial_rotary_factor' is 1.5: expected a positive number up to 1$"),
    ],
)
def test_what_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^x/config.json: {message}"):
        read_rotary_settings(given, "x/config.json")


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, None, "1", False, [1]])
def test_numbers_that_are_none(value: object) -> None:
    with pytest.raises(ConfigError, match=r"config\.json: 'factor' is .*: expected a positive number"):
        require_positive_number("config.json", "factor", value)
