"""Tables of a quantisation's record: what came out, and what the search tried on the way.

They are made from the record as a manifest has it (`Quantization.as_dict`), so that an export can be asked later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tfgraph.quantization.schemes import FLOAT

TRADE_OFF_COLUMNS = ("Quantised", "In float", "Error", "MB", "Within")


def trade_off(record: Mapping[str, Any]) -> list[list[str]]:
    """The rows of the trade-off: schemes, sites in float, the budget's metric, megabytes, and whether it is within."""
    rows = []
    for trial in record["tried"]:
        value = "not finite" if trial["value"] is None else f"{trial['value']:.6f}"
        verdict = "yes" if trial["within"] else "no"
        kept = str(trial["schemes"].get(FLOAT, 0))
        rows.append([_schemes(trial["schemes"]), kept, value, f"{trial['megabytes']:.1f}", verdict])
    return rows


def summary(record: Mapping[str, Any]) -> list[str]:
    """What came out, in sentences."""
    counts = Counter(record["sites"].values())
    kept = [name for name, scheme in record["sites"].items() if scheme == FLOAT]
    chosen = f"Quantised to {record['precision']}: {_schemes(counts)}; {len(kept)} in float."
    sizes = f"{record['float_megabytes']:.1f} MB of weights became {record['megabytes']:.1f}."
    lines = [f"{chosen} {sizes}"]
    if kept and record["budget"]:
        lines.append(f"In float: {', '.join(kept)}.")
    if not record["held_out"]:
        lines.append("The error was not measured, since no calibration inputs were given.")
        return lines
    found = ", ".join(f"{name} {'not finite' if value is None else f'{value:.5f}'}" for name, value in _sorted(record))
    bound = f" The budget is {record['budget']}." if record["budget"] else ""
    cases = record["cases"]["held_out"]
    lines.append(f"On {cases} held-out {'run' if cases == 1 else 'runs'}: {found}.{bound}")
    return lines


def _sorted(record: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    return sorted(record["held_out"].items())


def _schemes(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in sorted(counts.items()) if name != FLOAT) or "nothing"
