"""The Transformer's blocks built twice: as a survey lists their steps, and as the paper defines them.

The survey is the document that this project started from, "大语言模型原理基础与前沿 未来发展方向": section 3.1 for the
encoder, 3.2 for the decoder. The paper is Vaswani et al., "Attention Is All You Need", 2017. The two are not the same
model. Differences are shown as numbers, and the survey's worked example of attention (section 4.1) is computed again.
"""

from __future__ import annotations

import sys

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import tfgraph as tg
from tfgraph import functional as F
from tfgraph import nn

HIDDEN, HEADS, INNER, VOCABULARY = 32, 4, 64, 50
BATCH, SOURCE, TARGET = 2, 7, 5

console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)


class SurveyEncoderBlock(nn.Module):
    """Steps 3 to 5 of section 3.1."""

    def __init__(self) -> None:
        self.attention = nn.MultiHeadAttention(HIDDEN, HEADS)
        self.mlp = nn.MLP(HIDDEN, INNER, "relu")
        self.norm = nn.LayerNorm(HIDDEN)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        z = self.attention(x)  # 3: Z = MultiHead(Q, K, V)
        changed = self.mlp(z)  # 4: Z^ = FFN(Z)
        result: nn.Tensor = self.norm(changed + z)  # 5: C = LayerNorm(Z^ + Z)
        return result


class SurveyDecoderBlock(nn.Module):
    """Steps 2 to 5 of section 3.2."""

    def __init__(self) -> None:
        self.attention = nn.MultiHeadAttention(HIDDEN, HEADS, causal=True)
        self.cross_attention = nn.MultiHeadAttention(HIDDEN, HEADS)
        self.mlp = nn.MLP(HIDDEN, INNER, "relu")
        self.norm = nn.LayerNorm(HIDDEN)

    def forward(self, x: nn.Tensor, context: nn.Tensor) -> nn.Tensor:
        z1 = self.attention(x)  # 2: Z1 = MaskedSelfAttn
        z2 = self.cross_attention(z1, context)  # 3: Z2 = EncDecAttn(Z1, C)
        changed = self.mlp(z2)  # 4: Z2^ = FFN(Z2)
        result: nn.Tensor = self.norm(changed + z2)  # 5: O = LayerNorm(Z2^ + Z2)
        return result


def paper_encoder_block() -> nn.EncoderBlock:
    """Section 3.1 of the paper: LayerNorm(x + Sublayer(x)) around attention, and again around the MLP."""
    return nn.EncoderBlock(HIDDEN, HEADS, INNER, norm="post", activation="relu")


def paper_decoder_block() -> nn.DecoderBlock:
    """The same around masked self-attention, attention to the encoder, and the MLP."""
    return nn.DecoderBlock(HIDDEN, HEADS, INNER, cross_attention=True, norm="post", activation="relu")


def compiled(block: nn.Module) -> tg.CompiledModel:
    """The block, compiled for the CPU; a decoder block gets a context as well."""
    inputs = {"x": tg.spec("float32", ["batch", "seq", HIDDEN])}
    if hasattr(block, "cross_attention"):
        inputs["context"] = tg.spec("float32", ["batch", "source", HIDDEN])
    return tg.compile(block, inputs=inputs)


def inputs_of(model: tg.CompiledModel) -> dict[str, np.ndarray]:
    """Random hidden states [batch, seq, hidden]."""
    generator = np.random.default_rng(0)
    lengths = {"x": TARGET, "context": SOURCE}
    return {name: generator.standard_normal((BATCH, lengths[name], HIDDEN), np.float32) for name in model.graph.inputs}


def without_sublayers(block: nn.Module) -> nn.Module:
    """The block with all matrices 0: attention and MLP give nothing, and what is left is the way around them."""
    block.init_weights()
    weights = {path: constant.numpy() for path, constant in block.state_dict().items()}
    block.load_state_dict({path: array * 0 if array.ndim == 2 else array for path, array in weights.items()})
    return block


def compare_structure(blocks: dict[str, nn.Module]) -> None:
    """What each block is made of, found by the fusions."""
    table = Table(title="What the compiler finds", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("Block", "Attention", "LayerNormalization", "Weights"):
        table.add_column(column, justify="left" if column == "Block" else "right")
    for name, block in blocks.items():
        fused = compiled(block).report.fused
        counts = (str(fused[operator]) for operator in ("Attention", "LayerNormalization"))
        table.add_row(name, *counts, f"{block.num_parameters():,}")
    console.print(table)


def show_lost_input(blocks: dict[str, nn.Module]) -> None:
    """With residual connections around each part, a block passes its input on even if its parts give nothing."""
    console.print("[bold]What a block passes on when its attention and MLP give nothing[/bold]")
    for name, block in blocks.items():
        model = compiled(without_sublayers(block))
        inputs = inputs_of(model)
        result = model.run(inputs)["output"]
        kept = np.corrcoef(result.ravel(), inputs["x"].ravel())[0, 1] if result.std() else 0.0
        console.print(f"  {name:<18} correlation with its input: {kept:.3f}")


class SurveyProbabilities(nn.Module):
    """Step 6 of section 3.2: softmax(O), over the features of the hidden state."""

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        return F.softmax(x)


class PaperProbabilities(nn.Module):
    """Section 3.4 of the paper: a linear transformation to the vocabulary before the softmax."""

    def __init__(self) -> None:
        self.projection = nn.Linear(HIDDEN, VOCABULARY, bias=False)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        return F.softmax(self.projection(x))


def compare_probabilities() -> None:
    """How many outcomes the last step tells apart."""
    console.print(f"\n[bold]Probabilities of the next token, of a vocabulary of {VOCABULARY}[/bold]")
    for name, head in {"survey": SurveyProbabilities(), "paper": PaperProbabilities()}.items():
        model = compiled(head)
        console.print(f"  {name:<18} {model.run(inputs_of(model))['output'].shape[-1]} probabilities at each position")


def worked_example() -> None:
    """Section 4.1: one query, two keys, two values."""
    query, keys, values = (
        np.asarray(rows, np.float32)[None, None]  # [1, 1, rows, 2]
        for rows in ([[0.1, 0.2]], [[0.3, 0.4], [0.5, 0.1]], [[0.6, 0.7], [0.8, 0.9]])
    )

    def attend(q: nn.Tensor, k: nn.Tensor, v: nn.Tensor) -> dict[str, nn.Tensor]:
        scores = F.matmul(q, F.swap_axes(k, -1, -2)) / np.sqrt(2.0)
        return {"scores": scores, "weights": F.softmax(scores), "result": tg.functions.attention(q, k, v)}

    specs = {name: tg.spec("float32", [1, 1, rows, 2]) for name, rows in {"q": 1, "k": 2, "v": 2}.items()}
    found = tg.compile(tg.trace(attend, name="attend", **specs)).run({"q": query, "k": keys, "v": values})
    printed = {"scores": [0.2828, 0.1414], "weights": [0.7311, 0.2689], "result": [0.6689, 0.7689]}
    table = Table(title="The worked example of section 4.1", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "As printed", "Computed"):
        table.add_column(column)
    for name, numbers in printed.items():
        table.add_row(name, *(", ".join(f"{number:.4f}" for number in row) for row in (numbers, found[name].ravel())))
    console.print()
    console.print(table)


def main() -> None:
    """The whole comparison."""
    blocks: dict[str, nn.Module] = {
        "survey's encoder": SurveyEncoderBlock(),
        "paper's encoder": paper_encoder_block(),
        "survey's decoder": SurveyDecoderBlock(),
        "paper's decoder": paper_decoder_block(),
    }
    compare_structure(blocks)
    show_lost_input(blocks)
    compare_probabilities()
    worked_example()
    console.print("Where they differ:")
    console.print(
        "  1. the paper adds each part's input to its output and normalises, after attention as after the MLP;"
    )
    console.print("     the survey does so after the MLP only, so that its block forgets its input;")
    console.print("  2. the paper multiplies embeddings by the square root of their size before positions are added;")
    console.print(
        "  3. the paper projects to the vocabulary before the softmax; the survey's softmax is over features;"
    )
    console.print("  4. the survey's worked example has scores and weights that do not follow from its formula.")


if __name__ == "__main__":
    main()
