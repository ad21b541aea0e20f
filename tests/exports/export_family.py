"""Export one family in several ways, with inputs and reference outputs; run as a program, in a process of its own.

    python export_family.py FAMILY FOLDER EXPORTER-ATTENTION-OPSET ...

Writes NAME.onnx, NAME.npz (inputs and outputs for the shapes `a` and `b`, and for `c`, a padded batch) and NAME.json
(what the model holds), or NAME.failed with the exporter's own complaint. The form of the files is the same for all.
"""

from __future__ import annotations

import inspect
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from families import FAMILIES, Family

_GELUS = {"GELUActivation", "NewGELUActivation", "FastGELUActivation", "PytorchGELUTanh", "GELU", "QuickGELUActivation"}
_GELUS |= {"BloomGelu", "GELUTanh", "ClippedGELUActivation"}


class Wrapped(torch.nn.Module):  # type: ignore[misc]
    """The model over positional tensors, giving its first result alone."""

    def __init__(self, model: torch.nn.Module, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        given: dict[str, Any] = dict(zip(self.names, tensors, strict=True))
        if "use_cache" in inspect.signature(self.model.forward).parameters:
            given["use_cache"] = False
        return self.model(**given, return_dict=True)[0]


def build(family: Family, attention: str) -> torch.nn.Module:
    """The model with random parameters, none of them trivial."""
    torch.manual_seed(0)
    config = getattr(transformers, family.config)(**family.settings)
    config._attn_implementation = attention
    for part in ("text_config", "vision_config"):
        if hasattr(config, part):
            getattr(config, part)._attn_implementation = attention
    model = getattr(transformers, family.model)._from_config(config, attn_implementation=attention).eval().float()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def inputs(family: Family, batch: int, size: int, padded: bool) -> dict[str, torch.Tensor]:
    """Random inputs of one shape."""
    draw = torch.Generator().manual_seed(batch * 100 + size)

    def ids(length: int) -> torch.Tensor:
        return torch.randint(5, 99, (batch, length), generator=draw)

    if family.kind == "image":
        return {"pixel_values": torch.randn(batch, 3, 32, 32, generator=draw)}
    if family.kind == "waveform":
        return {"input_values": torch.randn(batch, 40 * size, generator=draw)}
    if family.kind == "spectrogram":
        return {"input_values": torch.randn(batch, 32, 32, generator=draw)}
    if family.kind == "features":
        return {"input_features": torch.randn(batch, 16, 32, generator=draw), "decoder_input_ids": ids(size)}
    mask = torch.ones(batch, size, dtype=torch.int64)
    if padded:
        mask[0, :3] = 0  # padding on the left
        mask[1, -2:] = 0  # on the right
        mask[2, 4] = 0  # a hole
    given = {"input_ids": ids(size), "attention_mask": mask}
    if family.kind == "encoder-decoder":
        given["decoder_input_ids"] = ids(size + 2)
    return given


def counted(model: torch.nn.Module, given: dict[str, torch.Tensor]) -> dict[str, int]:
    """How many norms and GELUs one run goes through."""
    found = {"norm": 0, "gelu": 0}
    hooks = []

    def counter(kind: str) -> Any:
        def count(*_: Any) -> None:
            found[kind] += 1

        return count

    for module in model.modules():
        name = type(module).__name__
        if name.endswith(("LayerNorm", "RMSNorm", "Norm1p", "T5DenseNorm")) or name.lower().endswith("layernorm"):
            hooks.append(module.register_forward_hook(counter("norm")))
        elif name in _GELUS:
            hooks.append(module.register_forward_hook(counter("gelu")))
    with torch.no_grad():
        Wrapped(model, list(given))(*given.values())
    for hook in hooks:
        hook.remove()
    return found


def export(wrapped: Wrapped, family: Family, given: dict[str, torch.Tensor], path: Path, way: str, opset: int) -> None:
    """Write the file."""
    axes = {
        name: {0: "batch"} if family.kind in ("image", "spectrogram") or name == "input_features"
        else {0: "batch", 1: "decoder_seq" if name.startswith("decoder") else "seq"}
        for name in given
    }  # fmt: skip
    args, names = tuple(given.values()), list(given)
    if way == "ts":
        torch.onnx.export(
            wrapped, args, str(path), input_names=names, output_names=["out"],
            dynamic_axes={**axes, "out": {0: "batch"}}, opset_version=opset, dynamo=False,
        )  # fmt: skip
        return
    dynamic = tuple(dict.fromkeys(marked, torch.export.Dim.DYNAMIC) for marked in axes.values())
    torch.onnx.export(
        wrapped, args, str(path), input_names=names, output_names=["out"], dynamic_shapes=(dynamic,),
        opset_version=opset, dynamo=True, external_data=False, verbose=False,
    )  # fmt: skip


def main(name: str, folder: Path, ways: list[str]) -> None:
    """Export family `name` in each of `ways`."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    family = FAMILIES[name]
    for spelled in ways:
        path = folder / f"{name}-{spelled}.onnx"
        if path.with_suffix(".json").exists() or path.with_suffix(".failed").exists():
            continue
        way, attention, opset = spelled.split("-")
        try:
            model = build(family, attention)
            cases = {"a": inputs(family, 2, 12, False), "b": inputs(family, 3, 10, False)}
            if family.kind in ("text", "encoder-decoder"):
                cases["c"] = inputs(family, 3, 9, True)
            held = counted(model, cases["a"])
            wrapped = Wrapped(model, list(cases["a"])).eval()
            with torch.no_grad():
                arrays: dict[str, np.ndarray] = {}
                for tag, given in cases.items():
                    arrays |= {f"{tag}/in/{key}": value.numpy() for key, value in given.items()}
                    arrays[f"{tag}/out/0"] = wrapped(*given.values()).numpy()
                if "c" in cases:
                    whole = family.kind == "encoder-decoder"
                    valid = torch.ones_like(cases["c"]["decoder_input_ids"]) if whole else cases["c"]["attention_mask"]
                    arrays["c/valid"] = valid.numpy().astype(bool)
                export(wrapped, family, cases["a"], path, way, int(opset))
        except Exception as problem:  # noqa: BLE001 - what an exporter cannot do is listed
            path.with_suffix(".failed").write_text(f"{type(problem).__name__}: {str(problem)[:2000]}")
            path.unlink(missing_ok=True)
            continue
        np.savez(path.with_suffix(".npz"), **arrays)
        meta = {"name": path.stem, "family": name, "attn": family.attention, **held, "rope": family.rotary}
        path.with_suffix(".json").write_text(json.dumps(meta))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
