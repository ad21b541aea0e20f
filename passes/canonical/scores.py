"""What tells the scores of attention from other products: they lead to a softmax."""

from __future__ import annotations

from tfgraph.ir.graph import Value

_ON_THE_WAY = frozenset({"Mul", "Div", "Add", "Sub", "Where", "Tanh", "Cast", "Max"})


def leads_to_softmax(value: Value) -> bool:
    """Whether `value` is read once, by a softmax or by what scales, caps or masks scores in front of one."""
    for _ in range(8):
        if value.num_uses != 1 or len(value.users) != 1:
            return False
        user = next(iter(value.users))
        if user.key == "Softmax":
            return True
        if user.key not in _ON_THE_WAY:
            return False
        value = user.output
    return False
