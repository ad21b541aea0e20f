"""How the names in a checkpoint differ from the names in a model, whatever the model family.

Two differences are general: a common prefix (`bert.encoder...` against `encoder...`), and the names `gamma` and `beta`
that early TensorFlow conversions gave to the weight and bias of a normalisation. Renamings of one family belong to that
family in `tfgraph.models`; the pairing itself is in `tfgraph.checkpoints.assign`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

_OLD_ENDINGS = {"gamma": "weight", "beta": "bias"}


def modern_name(name: str) -> str:
    """`name` with a last part of `gamma` or `beta` replaced by `weight` or `bias`; other names unchanged."""
    parent, dot, last = name.rpartition(".")
    return f"{parent}{dot}{_OLD_ENDINGS.get(last, last)}"


def detect_prefix(names: Collection[str], expected: Collection[str]) -> str:
    """The prefix, such as `bert.`, that the checkpoint's `names` have and the model's `expected` lack, or the reverse.

    It is the one that pairs the most names; the empty string when names pair best as they are. Which side has it does
    not matter to `spellings`, which tries a name with the prefix added and with it removed.
    """
    known, wanted = {*names, *map(modern_name, names)}, set(expected)
    paired: Counter[str] = Counter()
    for longer, shorter in ((known, wanted), (wanted, known)):
        for name in longer:
            for prefix in _leading_parts(name):
                if name[len(prefix) :] in shorter:
                    paired[prefix] += 1
    as_they_are = len(known & wanted)
    best = min(paired, key=lambda prefix: (-paired[prefix], len(prefix), prefix), default="")
    return best if paired[best] > as_they_are else ""


def spellings(name: str, prefix: str) -> Iterator[str]:
    """The names that a checkpoint's tensor `name` may have in a model, the likeliest first."""
    for spelling in dict.fromkeys((name, modern_name(name))):
        yield spelling
        if prefix:
            if spelling.startswith(prefix):
                yield spelling[len(prefix) :]
            yield prefix + spelling


def _leading_parts(name: str) -> Iterator[str]:
    """For `a.b.c`: `a.`, `a.b.`."""
    end = name.find(".")
    while end >= 0:
        yield name[: end + 1]
        end = name.find(".", end + 1)
