"""Export one family in several ways, with inputs and reference outputs; run as a program, in a process of its own.

    python export_family.py FAMILY FOLDER EXPORTER-ATTENTION-OPSET[-half][-past] ...

`half` exports in float16; `past` with the keys and values of the tokens before as inputs, and of all as outputs.
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
_NORMS = ("LayerNorm", "RMSNorm", "Norm1p", "Norm1P", "T5DenseNorm")
_GELUS |= {"BloomGelu", "GELUTanh", "ClippedGELUActivation"}


class Wrapped(torch.nn.Module):  # type: ignore[misc]
    """The model over positional tensors, giving its first result alone."""

    def __init__(self, model: torch.nn.Module, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given: dict[str, Any] = dict(zip(self.names, tensors, strict=True))
        past = [given.pop(name) for name in self.names if name.startswith("past")]
        if past:
            cache = transformers.DynamicCache()
            for layer in range(len(past) // 2):
                cache.update(past[2 * layer], past[2 * layer + 1], layer)
            result = self.model(**given, past_key_values=cache, use_cache=True, return_dict=True)
            presents = result.past_key_values.layers
            return (result[0], *(tensor for layer in presents for tensor in (layer.keys, layer.values)))
        if "use_cache" in inspect.signature(self.model.forward).parameters:
            given["use_cache"] = False
        return (self.model(**given, return_dict=True)[0],)


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
    """How many norms and GELUs the result depends on."""
    outputs: dict[str, list[torch.Tensor]] = {"norm": [], "gelu": []}
    hooks = []

    def keeper(kind: str) -> Any:
        def keep(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
            outputs[kind].append(output)

        return keep

    for module in model.modules():
        name = type(module).__name__
        whole = not any(True for _ in module.children())  # and not a block around a norm that is named after it
        if whole and (name.endswith(_NORMS) or name.lower().endswith("layernorm")):
            hooks.append(module.register_forward_hook(keeper("norm")))
        elif name in _GELUS:
            hooks.append(module.register_forward_hook(keeper("gelu")))
    result = Wrapped(model, list(given))(*given.values())[0]
    for hook in hooks:
        hook.remove()
    kept = [*outputs["norm"], *outputs["gelu"]]
    gradients = torch.autograd.grad(result.float().sum(), kept, allow_unused=True) if kept else ()
    used = [gradient is not None for gradient in gradients]
    norms = len(outputs["norm"])
    return {"norm": sum(used[:norms]), "gelu": sum(used[norms:])}


def with_past(model: torch.nn.Module, given: dict[str, torch.Tensor], length: int) -> dict[str, torch.Tensor]:
    """The inputs of a decoder that has seen `length` tokens: their keys and values, and a mask over all tokens."""
    batch = len(given["input_ids"])
    seen = torch.randint(5, 99, (batch, length), generator=torch.Generator().manual_seed(length))
    mask = torch.cat([torch.ones_like(seen), given["attention_mask"]], 1)
    with torch.no_grad():
        layers = model(input_ids=seen, use_cache=True, return_dict=True).past_key_values.layers
    past = {
        f"past_key_values.{index}.{part}": tensor
        for index, layer in enumerate(layers)
        for part, tensor in (("key", layer.keys), ("value", layer.values))
    }
    return {**given, "attention_mask": mask, **past}


def axes_of(family: Family, name: str, has_past: bool) -> dict[int, str]:
    """The dynamic axes of an input."""
    if name.startswith("past"):
        return {0: "batch", 2: "past"}
    if family.kind in ("image", "spectrogram") or name == "input_features":
        return {0: "batch"}
    if name == "attention_mask" and has_past:
        return {0: "batch", 1: "total"}
    return {0: "batch", 1: "decoder_seq" if name.startswith("decoder") else "seq"}


def export(wrapped: Wrapped, family: Family, given: dict[str, torch.Tensor], path: Path, way: str, opset: int) -> None:
    """Write the file."""
    args, names = tuple(given.values()), list(given)
    presents = [f"present.{name.partition('.')[2]}" for name in names if name.startswith("past")]
    axes = {name: axes_of(family, name, bool(presents)) for name in names}
    results = ["out", *presents]
    if way == "ts":
        torch.onnx.export(
            wrapped, args, str(path), input_names=names, output_names=results,
            dynamic_axes={**axes, "out": {0: "batch"}, **{name: {0: "batch", 2: "total"} for name in presents}},
            opset_version=opset, dynamo=False,
        )  # fmt: skip
        return
    dynamic = tuple(dict.fromkeys(marked, torch.export.Dim.DYNAMIC) for marked in axes.values())
    torch.onnx.export(
        wrapped, args, str(path), input_names=names, output_names=results, dynamic_shapes=(dynamic,),
        opset_version=opset, dynamo=True, external_data=False, verbose=False,
    )  # fmt: skip


def _halved(value: torch.Tensor) -> torch.Tensor:
    return value.half() if value.is_floating_point() else value


def main(name: str, folder: Path, ways: list[str]) -> None:
    """Export family `name` in each of `ways`."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    family = FAMILIES[name]
    for spelled in ways:
        path = folder / f"{name}-{spelled}.onnx"
        if path.with_suffix(".json").exists() or path.with_suffix(".failed").exists():
            continue
        way, attention, opset, *options = spelled.split("-")
        try:
            model = build(family, attention)
            cases = {"a": inputs(family, 2, 12, False), "b": inputs(family, 3, 10, False)}
            if family.kind in ("text", "encoder-decoder"):
                cases["c"] = inputs(family, 3, 9, True)
            held = counted(model, cases["a"])
            if "past" in options:
                lengths = {"a": 5, "b": 3, "c": 4}
                cases = {tag: with_past(model, given, lengths[tag]) for tag, given in cases.items()}
            if "half" in options:
                model = model.half()
                cases = {tag: {name: _halved(value) for name, value in given.items()} for tag, given in cases.items()}
            wrapped = Wrapped(model, list(cases["a"])).eval()
            with torch.no_grad():
                arrays: dict[str, np.ndarray] = {}
                for tag, given in cases.items():
                    arrays |= {f"{tag}/in/{key}": value.numpy() for key, value in given.items()}
                    results = wrapped(*given.values())
                    arrays |= {f"{tag}/out/{index}": value.numpy() for index, value in enumerate(results)}
                if "c" in cases:
                    whole = family.kind == "encoder-decoder"
                    valid = torch.ones_like(cases["c"]["decoder_input_ids"]) if whole else cases["c"]["attention_mask"]
                    arrays["c/valid"] = valid[:, -arrays["c/out/0"].shape[1] :].numpy().astype(bool)
                export(wrapped, family, cases["a"], path, way, int(opset))
        except Exception as problem:  # noqa: BLE001 - what an exporter cannot do is listed
            path.with_suffix(".failed").write_text(f"{type(problem).__name__}: {str(problem)[:2000]}")
            path.unlink(missing_ok=True)
            continue
        np.savez(path.with_suffix(".npz"), **arrays)
        tolerance = 2e-2 if "half" in options else 1e-3
        meta = {
            "tolerance": tolerance,
            "name": path.stem,
            "family": name,
            "attn": family.attention,
            **held,
            "rope": family.rotary,
        }
        path.with_suffix(".json").write_text(json.dumps(meta))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
