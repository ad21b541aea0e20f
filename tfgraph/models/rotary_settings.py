"""Reading the settings of rotary positions out of a `config.json`, from every place where releases have kept them.

transformers 5 writes one object, `rope_parameters`; before, the base and the part of a head stood beside it, under the
family's own names, and `rope_scaling` held the rest, its type as `type`. What the settings mean is in
`tfgraph.dsl.layers`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tfgraph.errors import ConfigError

DEFAULT = "default"


@dataclass(frozen=True)
class RotarySettings:
    """What a configuration says about rotary positions.

    Attributes:
        base: from which wavelengths are computed; see `RotaryPositions`.
        fraction: how much of a head is turned.
        kind: how wavelengths are scaled; `default` for not at all.
        scaling: the settings of that scaling.
    """

    base: float
    fraction: float
    kind: str = DEFAULT
    scaling: Mapping[str, Any] = field(default_factory=dict)


def read_rotary_settings(
    given: Mapping[str, Any],
    source: str,
    *,
    base: float = 10000.0,
    fraction: float = 1.0,
    base_name: str = "rope_theta",
    fraction_name: str = "partial_rotary_factor",
    kinds: Iterable[str] = (DEFAULT,),
) -> RotarySettings:
    """The settings of rotary positions that a configuration gives.

    Args:
        given: the configuration; `source` is what to call it in an error.
        base, fraction: what they are if the configuration does not say.
        base_name, fraction_name: what they are called beside the object.
        kinds: the scalings that the family's models are built with.

    Raises:
        ConfigError: the object is none, a number is none or out of its range, or the scaling is not among `kinds`.
    """
    place = "rope_parameters" if given.get("rope_parameters") is not None else "rope_scaling"
    inside = given.get(place)
    inside = {} if inside is None else inside
    if not isinstance(inside, Mapping):
        raise ConfigError(
            f"{source}: '{place}' is {inside!r}: expected an object with the settings of rotary positions"
        )
    kind = inside.get("rope_type", inside.get("type", DEFAULT))
    if kind not in kinds:
        built = ", ".join(repr(each) for each in kinds)
        raise ConfigError(
            f"{source}: '{place}' scales rotary positions by {kind!r}: what is built here for this family is {built}"
        )
    return RotarySettings(
        base=_number(source, base, ("rope_theta", inside), (base_name, given)),
        fraction=_number(source, fraction, ("partial_rotary_factor", inside), (fraction_name, given), most=1.0),
        kind=kind,
        scaling=inside,
    )


def _number(source: str, default: float, *places: tuple[str, Mapping[str, Any]], most: float = math.inf) -> float:
    """The number that the first of `places` gives, each a name with the object that may have it."""
    for name, place in places:
        value = place.get(name)
        if value is not None:
            return require_positive_number(source, name, value, most)
    return default


def require_positive_number(source: str, name: str, value: object, most: float = math.inf) -> float:
    """The setting `name` as a number.

    Raises:
        ConfigError: it is none, or not between 0 and `most`.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf or value > most:
        limit = "" if most == math.inf else f" up to {most:g}"
        raise ConfigError(f"{source}: '{name}' is {value!r}: expected a positive number{limit}")
    return float(value)
