"""ONNX files of tiny Transformers as torch's exporters write them, for tests of what optimises such files."""

from __future__ import annotations

from pathlib import Path

FAMILIES = ("bert", "gpt2", "llama")


def export_tiny(family: str, path: Path) -> Path:
    """A model of two layers with random weights, exported to `path` with dynamic axes `batch` and `seq`."""
    import torch
    import transformers

    torch.manual_seed(7)
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2}
    common = {**sizes, "intermediate_size": 24, "attn_implementation": "eager"}
    if family == "bert":
        model = transformers.BertModel(transformers.BertConfig(**common))
    elif family == "llama":
        model = transformers.LlamaModel(transformers.LlamaConfig(**common, num_key_value_heads=1))
    else:
        config = transformers.GPT2Config(n_embd=16, n_head=2, n_layer=2, vocab_size=50, attn_implementation="eager")
        model = transformers.GPT2Model(config)

    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model.eval()

        def forward(self, input_ids, attention_mask):
            extra = {} if family == "bert" else {"use_cache": False}
            return self.model(input_ids=input_ids, attention_mask=attention_mask, **extra)[0]

    ids = torch.ones(2, 6, dtype=torch.int64)
    axes = {0: "batch", 1: "seq"}
    torch.onnx.export(
        Plain().eval(),
        (ids, ids),
        str(path),
        input_names=["input_ids", "attention_mask"],
        output_names=["hidden"],
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "hidden": axes},
        opset_version=17,
        dynamo=False,
    )
    return path
