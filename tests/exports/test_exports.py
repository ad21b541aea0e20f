"""Live exports of many families: everything that can be fused is, and the numbers stay (slow; `make parity`).

A few families stand for the rest, which takes a quarter of an hour on two cores: `TFGRAPH_EXPORTS=all make parity` runs
every one.
Each family is exported by a process of its own (`export_family.py`) with a time limit. What an exporter cannot write,
or writes wrong by itself, is skipped with its complaint.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")
pytest.importorskip("onnxscript")

HERE = Path(__file__).parent
WAYS = ("dyn-eager-18", "dyn-sdpa-20", "ts-eager-14", "ts-sdpa-17")
MORE = ("dyn-sdpa-23", "dyn-sdpa-20-half", "ts-eager-14-half", "ts-sdpa-17-half")
PAST = ("dyn-sdpa-20-past", "ts-eager-14-past")
"""With past keys and values as inputs, in families whose cache is one key and one value a layer."""
CACHED = ("bloom", "codegen", "gemma3", "gpt2", "gpt_neox", "gptj", "llama", "mistral", "opt", "qwen2")
REPRESENTATIVES = ("distilbert", "gpt_neox", "llama", "t5", "vit")
LIMIT = 300  # seconds to export one family in all ways
KINDS = {
    "attn": {"Attention", "MultiHeadAttention", "GroupQueryAttention"},
    "norm": {"LayerNormalization", "SkipLayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization"}
    | {"SkipSimplifiedLayerNormalization"},
    "gelu": {"Gelu", "FastGelu", "BiasGelu", "QuickGelu"},
    "rope": {"RotaryEmbedding"},
}


def family_names() -> list[str]:
    """The names in `families.py`, which is no module of a package."""
    spec = importlib.util.spec_from_file_location("export_families", HERE / "families.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    names = list(module.FAMILIES)
    return names if os.environ.get("TFGRAPH_EXPORTS") == "all" else [name for name in names if name in REPRESENTATIVES]


def ways_of(family: str) -> tuple[str, ...]:
    """How a family is exported."""
    more = MORE if family in REPRESENTATIVES else ()
    return (*WAYS, *more, *(PAST if family in CACHED else ()))


def worst(path: Path, arrays: dict[str, np.ndarray[Any, Any]], tag: str) -> float:
    """The largest difference to the reference, of the largest reference value or 1; a padded batch where it counts."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = {value.name: arrays[f"{tag}/in/{value.name}"] for value in session.get_inputs()}
    errors = []
    for index, result in enumerate(session.run(None, given)):
        expected = arrays[f"{tag}/out/{index}"]
        if tag == "c" and index == 0:
            result, expected = result[arrays["c/valid"]], expected[arrays["c/valid"]]
        if tag != "c" or index == 0:
            difference = np.abs(result.astype(np.float64) - expected)
            errors.append(float(difference.max() / max(1.0, np.abs(expected).max())))
    return max(errors)


@pytest.mark.slow
@pytest.mark.parametrize("family", family_names())
def test_all_of_a_family_is_fused_and_right(family, tmp_path):
    import onnx

    import tfgraph as tg

    command = [sys.executable, str(HERE / "export_family.py"), family, str(tmp_path), *ways_of(family)]
    subprocess.run(command, timeout=LIMIT, check=True, capture_output=True, cwd=HERE)
    complaints, judged = [], 0
    for failed in tmp_path.glob("*.failed"):
        complaints.append(f"{failed.stem}: {failed.read_text()[:120]}")
    for described in sorted(tmp_path.glob("*.json")):
        held, source = json.loads(described.read_text()), described.with_suffix(".onnx")
        arrays = dict(np.load(described.with_suffix(".npz")))
        tolerance = held["tolerance"]
        tags = [tag for tag in "abc" if f"{tag}/out/0" in arrays]
        try:
            sound = all(worst(source, arrays, tag) <= tolerance for tag in tags)
        except Exception as problem:  # noqa: BLE001 - ONNX Runtime raises many types
            complaints.append(f"{source.stem} does not run as exported: {str(problem)[:120]}")
            continue
        if not sound:
            complaints.append(f"{source.stem} is wrong as exported")
            continue
        written = tmp_path / f"{source.stem}.out.onnx"
        report = tg.optimize_onnx(source, written)
        found = Counter(node.op_type for node in onnx.load(written).graph.node)
        fused = {kind: sum(found[name] for name in names) for kind, names in KINDS.items()}
        missing = {kind: (fused[kind], held[kind]) for kind in KINDS if fused[kind] < held[kind]}
        assert not missing, f"{source.stem}: {missing}; {[str(miss) for miss in report.near_misses][:3]}"
        for tag in tags:
            assert worst(written, arrays, tag) <= tolerance, f"{source.stem}, inputs {tag}"
        judged += 1
    if not judged:
        pytest.skip("; ".join(complaints))
