"""What a target can run: the description that passes and backends ask, so that none of them ever tests a target's name.

The class is here; the tables are with the backends that know them (`tfgraph/backends/*/capabilities.py`), and
`tfgraph/targets.py` finds a table by its target's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tfgraph.ir.dtypes import DType


@dataclass(frozen=True)
class Support:
    """How a target runs one operator.

    Attributes:
        dtypes: element types that it takes as its first floating-point operand, or as its first; empty for all.
        attributes: for an attribute name, the values that it takes; an attribute not named takes any value.
        without_inputs: positions of optional operands that it does not take.
        needs_inputs: positions of optional operands that it does not run without.
        num_outputs: how many of the operator's results it gives; None for all.
        slower_than_body: why the operator is better written out by its definition; empty where it is not.
    """

    dtypes: frozenset[DType] = frozenset()
    attributes: Mapping[str, frozenset[Any]] = field(default_factory=dict)
    without_inputs: frozenset[int] = frozenset()
    needs_inputs: frozenset[int] = frozenset()
    num_outputs: int | None = None
    slower_than_body: str = ""


@dataclass(frozen=True)
class AttentionSupport:
    """The form in which a target runs attention best.

    Attributes:
        layout: "heads" is ONNX's Attention over [batch, heads, seq, head_dim]; "folded" the same over
            [batch, seq, heads * head_dim]; "microsoft" is ONNX Runtime's MultiHeadAttention and Attention, which are
            folded, take one number a key as padding mask, and have the packed projections inside.
        adds_whole_mask: the mask must be added to the scores, not chosen by, and have its last two axes written out.
        cached_multiple: what the size of a head must be a multiple of for attention over a cache of fixed length to be
            one operator, ONNX Runtime's GroupQueryAttention; 0 where there is none, or it is slower.
        rotary_multiple: the same where rotary positions are inside it.
    """

    layout: Literal["heads", "folded", "microsoft"] = "heads"
    adds_whole_mask: bool = False
    cached_multiple: int = 0
    rotary_multiple: int = 0


@dataclass(frozen=True)
class Capabilities:
    """A target: the operators it runs, the opset and file version it reads, and how its sessions are made.

    Attributes:
        name: what a user calls it.
        opset: the ONNX opset stamped on files for it, where the model does not need another.
        ir_version: the ONNX IR version stamped on files for it.
        domains: versions of other operator domains that it knows.
        operators: operator key (`LayerNormalization`, `com.microsoft::BiasGelu`) to how it is run. A primitive
            operator of the ONNX domain that is not listed is run if the opset has it; a composite or foreign one that
            is not listed is replaced by its definition.
        attention: the form of attention that passes should make.
        newest_opset: the newest opset that it reads, for models with operators that came after `opset`; 0 for `opset`.
        last_opsets: operators that it runs only in files of that opset or an older one.
    """

    name: str
    opset: int
    ir_version: int
    domains: Mapping[str, int] = field(default_factory=dict)
    operators: Mapping[str, Support] = field(default_factory=dict)
    attention: AttentionSupport = AttentionSupport()
    newest_opset: int = 0
    last_opsets: Mapping[str, int] = field(default_factory=dict)

    def refusal(
        self,
        key: str,
        *,
        since: int,
        composite: bool,
        dtypes: tuple[DType | None, ...],
        attributes: Mapping[str, Any],
        num_outputs: int,
    ) -> str | None:
        """Why this target does not run an application of the operator `key`, or None if it does.

        `since` is the opset that brought the operator, `dtypes` are those of the operands (None where one is left out),
        and `attributes` has the defaults filled in.
        """
        support = self.operators.get(key)
        if support is None:
            if composite or "::" in key:
                return f"{self.name} has no {key}"
            return None if since <= self.opset else f"{key} came with opset {since}, and {self.name} reads {self.opset}"
        given = [dtype for dtype in dtypes if dtype is not None]
        first = next((dtype for dtype in given if dtype.is_float), given[0] if given else None)  # Where: not its test
        if support.dtypes and first is not None and first not in support.dtypes:
            return f"{key} on {self.name} does not take {first}"
        for name, allowed in support.attributes.items():
            if attributes.get(name) not in allowed:
                return f"{key} on {self.name} does not take {name}={attributes.get(name)!r}"
        for index in support.without_inputs:
            if index < len(dtypes) and dtypes[index] is not None:
                return f"{key} on {self.name} does not take input {index}"
        for index in support.needs_inputs:
            if index >= len(dtypes) or dtypes[index] is None:
                return f"{key} on {self.name} does not run without input {index}"
        if support.num_outputs is not None and num_outputs > support.num_outputs:
            return f"{key} on {self.name} gives {support.num_outputs} of the {num_outputs} results asked for"
        return support.slower_than_body or None
