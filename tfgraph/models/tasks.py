"""Models for tasks: an encoder and a head. A family says which encoder and which head, in its own file.

Each takes `input_ids`, `attention_mask` and `token_type_ids`, [B, S] unless stated otherwise, and returns its outputs
under the names that Hugging Face gives them.
"""

from __future__ import annotations

from tfgraph.dsl import functional as F
from tfgraph.dsl.functional import unpack_shape
from tfgraph.dsl.module import Module
from tfgraph.dsl.tensor import Tensor
from tfgraph.models.heads import SpanHead


class OnHiddenStates(Module):
    """A head over all hidden states: `logits` [B, S, N] from [B, S, H], or whatever the head makes of them."""

    def __init__(self, base: Module, head: Module) -> None:
        self.base = base
        self.head = head

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Integers [B, S] -> `logits`."""
        return {"logits": self.head(self.base(input_ids, attention_mask, token_type_ids)["last_hidden_state"])}


class OnPooled(Module):
    """A head over the pooler's vector: `logits` [B, N] from [B, H]."""

    def __init__(self, base: Module, head: Module) -> None:
        self.base = base
        self.head = head

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Integers [B, S] -> `logits` [B, N]."""
        return {"logits": self.head(self.base(input_ids, attention_mask, token_type_ids)["pooler_output"])}


class PreTraining(Module):
    """The two heads that an encoder was trained with: one predicts tokens, one judges a pair of texts.

    `pooled_logits` is what the second head's scores are called.
    """

    def __init__(
        self, base: Module, head: Module, pooled_head: Module, pooled_logits: str = "seq_relationship_logits"
    ) -> None:
        self.base = base
        self.head = head
        self.pooled_head = pooled_head
        self.pooled_logits = pooled_logits

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Integers [B, S] -> `prediction_logits` [B, S, vocab], `seq_relationship_logits` [B, classes]."""
        outputs = self.base(input_ids, attention_mask, token_type_ids)
        return {
            "prediction_logits": self.head(outputs["last_hidden_state"]),
            self.pooled_logits: self.pooled_head(outputs["pooler_output"]),
        }


class QuestionAnswering(Module):
    """Extractive question answering: where in the text the answer starts and ends."""

    def __init__(self, base: Module, head: SpanHead) -> None:
        self.base = base
        self.head = head

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Integers [B, S] -> `start_logits`, `end_logits`, [B, S] each."""
        start, end = self.head(self.base(input_ids, attention_mask, token_type_ids)["last_hidden_state"])
        return {"start_logits": start, "end_logits": end}


class MultipleChoice(Module):
    """One score for each of several choices; each choice is a text of its own.

    The head is over the pooler's vector, or, not `pooled`, over all hidden states.
    """

    def __init__(self, base: Module, head: Module, pooled: bool = True) -> None:
        self.base = base
        self.head = head
        self.pooled = pooled

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Integers [B, C, S] -> `logits` [B, C]."""
        batch, choices, seq = unpack_shape(input_ids, "batch choices seq")
        flat = [
            None if given is None else F.reshape(given, (batch * choices, seq))  # [B * C, S]
            for given in (input_ids, attention_mask, token_type_ids)
        ]
        outputs = self.base(*flat)
        scores = self.head(outputs["pooler_output" if self.pooled else "last_hidden_state"])  # [B * C, 1]
        return {"logits": F.reshape(scores, (batch, choices))}
