"""BERT in torch, its ONNX export, what ONNX Runtime's transformers optimiser makes of that, and a session for either.

Everything is made out of a checkpoint folder, with the maker's own defaults. What cannot be made here raises
`PeerUnavailable`, which says what to install. The candidates made of these are in `torch_encoder.py` and `ort.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tfgraph.backends.onnxruntime.errors import message, runtime_errors
from tfgraph.bench.peers.interface import PeerUnavailable, failures_as, quiet, require
from tfgraph.bench.shapes import INPUTS, OUTPUT
from tfgraph.ir.constant import Array

if TYPE_CHECKING:
    from tfgraph.models.bert import BertConfig

_OUTPUTS: Final = (OUTPUT, "pooler_output")
_OPSET: Final = 17  # the first with LayerNormalization, which both optimisers of ONNX Runtime know


class OrtPeer:
    """An ONNX file in an ONNX Runtime session of its own, with ONNX Runtime's default settings.

    Args:
        path: the file.
        num_threads: threads inside an operator.
        config: entries of the session configuration, the same for all that are compared.

    Raises:
        PeerUnavailable: ONNX Runtime cannot load the file.
    """

    def __init__(self, path: Path, num_threads: int, config: Mapping[str, str]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = num_threads
        for key, setting in config.items():
            options.add_session_config_entry(key, setting)
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except runtime_errors() as error:
            raise PeerUnavailable(f"ONNX Runtime cannot load {path.name}: {message(error)}") from None
        self._inputs = [argument.name for argument in self._session.get_inputs()]

    def __call__(self, inputs: Mapping[str, Array]) -> Array:
        """`last_hidden_state` [B, S, H]; what the export left out of the inputs is not passed."""
        results = self._session.run([OUTPUT], {name: inputs[name] for name in self._inputs})
        hidden_state: Array = results[0]
        return hidden_state


class TorchPeer:
    """transformers' BERT in torch, run eagerly.

    Args:
        checkpoint: the folder.
        num_threads: threads of torch, in the whole process.
        dtype: of weights and arithmetic, "float32" or "bfloat16".
        attention: how attention is computed; "eager" is step by step, the form that the export can write down.

    Raises:
        PeerUnavailable: torch or transformers is not installed, or they cannot load the checkpoint.
    """

    def __init__(self, checkpoint: Path, num_threads: int, dtype: str = "float32", attention: str = "eager") -> None:
        require("torch", "transformers")
        import torch
        from transformers import BertModel
        from transformers.utils import logging as transformers_logging

        torch.set_num_threads(num_threads)
        transformers_logging.disable_progress_bar()
        transformers_logging.set_verbosity_error()
        with failures_as("transformers cannot load the checkpoint"):
            model = BertModel.from_pretrained(checkpoint, attn_implementation=attention, dtype=getattr(torch, dtype))
        self._model: Any = model.eval()

    def __call__(self, inputs: Mapping[str, Array]) -> Array:
        """`last_hidden_state` [B, S, H]."""
        import torch

        with torch.inference_mode():
            result = self._model(**{name: torch.from_numpy(inputs[name]) for name in INPUTS})
        hidden_state: Array = result.last_hidden_state.float().numpy()
        return hidden_state

    def export(self, path: Path) -> Path:
        """Write the model with torch's exporter, for any batch and length, and return `path`.

        Raises:
            PeerUnavailable: the exporter fails.
        """
        import torch

        model = self._model

        class Positional(torch.nn.Module):  # type: ignore[misc]
            """The exporter passes arguments by position, and wants a tuple."""

            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
                return self.model(input_ids, attention_mask, token_type_ids, return_dict=False)

        ids = torch.ones((2, 8), dtype=torch.int64)
        mask = ids.tril(4)  # with padding, so that no branch for inputs without any is taken
        axes = {name: {0: "batch", 1: "seq"} for name in (*INPUTS, OUTPUT)}
        with failures_as("torch's exporter fails"), quiet():
            torch.onnx.export(
                Positional().eval(),
                (ids, mask, torch.zeros_like(ids)),
                str(path),
                input_names=list(INPUTS),
                output_names=list(_OUTPUTS),
                dynamic_axes={**axes, "pooler_output": {0: "batch"}},
                opset_version=_OPSET,
                dynamo=False,  # the form that ONNX Runtime's optimisers recognise
            )
        return path


def optimise_with_onnxruntime(source: Path, path: Path, config: BertConfig) -> Path:
    """Put an export through ONNX Runtime's transformers optimiser, write it to `path`, and return that.

    Raises:
        PeerUnavailable: the optimiser fails, or is not installed with ONNX Runtime.
    """
    with failures_as("ONNX Runtime's transformers optimiser fails"), quiet():
        from onnxruntime.transformers.optimizer import optimize_model

        optimised = optimize_model(
            str(source), model_type="bert", num_heads=config.num_attention_heads, hidden_size=config.hidden_size
        )
        optimised.save_model_to_file(str(path))
    return path
