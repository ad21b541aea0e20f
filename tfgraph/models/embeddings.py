"""What the layers of an encoder start from: the sum of word, position and token-type embeddings, normalised."""

from __future__ import annotations

from tfgraph.dsl.layers.embedding import Embedding
from tfgraph.dsl.layers.linear import Linear
from tfgraph.dsl.layers.norms import LayerNorm
from tfgraph.dsl.layers.positions import LearnedPositions
from tfgraph.dsl.module import Module
from tfgraph.dsl.tensor import Tensor
from tfgraph.dsl.trace import current_trace
from tfgraph.errors import TraceError
from tfgraph.models.encoder_config import EncoderConfig


class TextEmbeddings(Module):
    """`project(norm(word + token_type + position))`, each looked up in a learned table.

    There are no token types where `config.type_vocab_size` is None.

    Args:
        width: features of the tables; the hidden size if not given.
        position: from ids [B, S] to the vectors of their positions, [S, width] or [B, S, width]; those of the columns
            0, 1, … if not given.
        norm: whether the sum is normalised.
        project: whether a matrix takes `width` to the hidden size.

    Source: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2019,
    figure 2; a width of its own: Lan et al., "ALBERT: A Lite BERT for Self-supervised Learning of Language
    Representations", 2020, section 3.1.
    """

    def __init__(
        self,
        config: EncoderConfig,
        *,
        width: int | None = None,
        position: Module | None = None,
        norm: bool = True,
        project: bool = False,
    ) -> None:
        width = config.hidden_size if width is None else width
        self.word = Embedding(config.vocab_size, width)
        self.position = LearnedPositions(config.max_position_embeddings, width) if position is None else position
        self.token_type = None if config.type_vocab_size is None else Embedding(config.type_vocab_size, width)
        self.norm = LayerNorm(width, config.layer_norm_eps) if norm else None
        self.project = Linear(width, config.hidden_size) if project else None

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Ids [B, S] -> [B, S, H]; every token is of type 0 if no types are given.

        Raises:
            TraceError: types for an encoder that has none.
        """
        embedded: Tensor = self.word(input_ids)
        if self.token_type is not None:
            types = self.token_type
            embedded = embedded + (types.weight[0] if token_type_ids is None else types(token_type_ids))
        elif token_type_ids is not None:
            message = "token_type_ids for an encoder that has no token types: leave them out"
            raise TraceError(current_trace().locate(message))
        embedded = embedded + self.position(input_ids)
        for part in (self.norm, self.project):
            if part is not None:
                embedded = part(embedded)
        return embedded
