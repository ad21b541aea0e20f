"""Exporting a model into a folder: the ONNX file, what prepares texts for it, and a manifest that says what it is.

The folder is what `tfgraph.open` runs. Compiling is in `compiler.py`, replacing an older export in `staging.py`, what
the manifest says in `manifest.py`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tfgraph.cache_choice import with_best_cache
from tfgraph.checkpoints import read_config
from tfgraph.checkpoints.folder import CONFIG_FILE, GENERATION_FILE
from tfgraph.compiler import AUTO, BFLOAT16, CompiledModel, Traceable, compile
from tfgraph.errors import CheckpointError, ConfigError, ExportError, TargetError, VerificationError
from tfgraph.ir.graph import Graph
from tfgraph.manifest import MANIFEST_FILE, WEIGHTS_FILE, GraphFile, Manifest, interface_of, read_manifest
from tfgraph.models.family import WHOLE_MODEL
from tfgraph.passes.report import Report
from tfgraph.pretrained import Pretrained
from tfgraph.quantization.request import for_part
from tfgraph.staging import Staging, refusals_of, replacing
from tfgraph.targets import get_target

if TYPE_CHECKING:
    from tfgraph.automatic import Sizes
    from tfgraph.dsl.module import Module
    from tfgraph.dsl.trace import TensorSpec
    from tfgraph.quantization.budget import Budget
    from tfgraph.quantization.calibration import CalibrationInput

_PROBLEM_TYPE = "problem_type"  # how a classifier's scores are meant, under Hugging Face's name


@dataclass(frozen=True)
class Progress:
    """How far an export is: `done` of `total` passes (`activity` "optimise", `detail` the pass) or bytes ("write")."""

    activity: Literal["optimise", "write"]
    detail: str
    done: int
    total: int


def export(
    model: Pretrained | Graph | Module | Traceable,
    out: str | Path,
    *,
    target: str = "cpu",
    inputs: Mapping[str, TensorSpec] | None = None,
    fuse: bool = True,
    unpad: bool = False,
    verify: bool = False,
    precision: str = "fp32",
    budget: str | Budget | None = None,
    calibration: CalibrationInput | Mapping[str, CalibrationInput] | None = None,
    sites: Mapping[str, str] | None = None,
    shapes: Sequence[Sizes] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Compile a model and write it into the folder `out`, ready for `tfgraph.open`.

    The folder gets `model.onnx` (and `model.onnx.data`, if the weights are many), the manifest `tfgraph.json`, and, of
    a loaded checkpoint, its `config.json` and tokenizer files. A checkpoint that runs as several graphs gets a file for
    each, `encoder.onnx` and `decoder.onnx`, and one for the weights of all, `model.data`, where shared ones are once.

    The folder is made if it is not there. An older export in it is replaced when the new one is complete; whatever
    stops the export before that leaves the old one whole. Files of other names stay. Exporting the same model again
    gives the same bytes.

    Args:
        model: a loaded checkpoint, a graph, a module together with `inputs`, or one of `tfgraph.models.build`.
        out: the folder; its parent must exist.
        target: the name of a target, such as "cpu" or "onnx".
        inputs: for a module, what to trace it with.
        fuse: False for the plain form, in which every composite operator is written out.
        unpad: run all but attention on the real tokens of padded batches only; see `compile`.
        verify: check the graph and compare its outputs after every pass, then compare those of the written file.
        precision, budget, calibration, sites, shapes: what is computed in lower precision, and what error is accepted;
            see `compile`.
            What was chosen and measured is in the manifest. A checkpoint that runs as several graphs takes a dict as
            `calibration`: by the names of the graphs, lists of dicts of arrays.
        on_progress: called before each pass, and as weights are written.

    Returns:
        What the passes did, for all graphs together.

    Raises:
        ExportError: the folder cannot be written, or is the checkpoint's own.
        TargetError: no such target, or a precision that is not available here.
        TraceError: a module without `inputs`.
        ConfigError, InputError, BudgetError: as for `compile`, of `unpad`, precision, budget and calibration.
        CheckpointError: a weight has no values, or a tokenizer file is damaged.
        VerificationError: the results differ (only with `verify`).
    """
    capabilities = get_target(target)
    folder = Path(out)
    _refuse_own_folder(model, folder)
    if isinstance(model, Pretrained) and fuse:
        model = with_best_cache(model, capabilities)
    several = isinstance(model, Pretrained) and len(model.parts) > 1
    if several and precision in (AUTO, BFLOAT16):
        raise TargetError(
            f"precision {precision!r} chooses one runtime for a model, and this one runs as several graphs with a "
            "cache, which ONNX Runtime keeps: choose int8, int4 or fp32"
        )
    models = model.parts if isinstance(model, Pretrained) and several else {WHOLE_MODEL: model}

    with replacing(folder, MANIFEST_FILE) as staging:
        compiled = {
            name: compile(
                each, target=target, inputs=inputs, fuse=fuse, unpad=unpad, verify=verify, precision=precision,
                budget=budget, sites=sites, shapes=shapes, calibration=for_part(calibration, name, several),
                on_progress=_optimising(on_progress, name if several else "", index, len(models)),
            )
            for index, (name, each) in enumerate(models.items())
        }  # fmt: skip
        parts = {name: GraphFile(f"{name}.onnx", *interface_of(each.graph)) for name, each in compiled.items()}
        with _naming_final_place(staging):
            _write(compiled, parts, staging.folder, on_progress)
        if verify:
            for name, each in compiled.items():
                _check_file(each, staging.folder / parts[name].file)
        model_facts = _copy_checkpoint_files(model, staging) if isinstance(model, Pretrained) else {}
        reports = {name: each.report for name, each in compiled.items()}
        report = Report.of_parts(reports) if several else reports[WHOLE_MODEL]
        made = next(iter(compiled.values()))
        first, last = next(iter(parts.values())), list(parts.values())[-1]
        manifest = Manifest(
            target=made.target.name,
            opset=get_target(made.target.name).opset,
            inputs=first.inputs,
            outputs=last.outputs,
            report=report.as_dict(),
            model=model_facts,
            files={path.name: path.stat().st_size for path in sorted(staging.folder.iterdir())},
            parts=parts,
            quantization={
                name: each.quantization.as_dict() for name, each in compiled.items() if each.quantization is not None
            },
            precision=made.precision,
            choice={} if made.choice is None else made.choice.as_dict(),
        )
        with refusals_of(folder):
            manifest.save(staging.folder)
        staging.commit(obsolete=_older_files(folder))
    return report


def _optimising(
    on_progress: Callable[[Progress], None] | None, part: str, position: int, count: int
) -> Callable[[str, int, int], None] | None:
    """What the compiler calls before each pass, for one of `count` graphs; each takes the same passes."""
    if on_progress is None:
        return None

    def tell(name: str, index: int, passes: int) -> None:
        detail = f"{part}: {name}" if part else name
        on_progress(Progress("optimise", detail, position * passes + index, count * passes))

    return tell


def _write(
    compiled: Mapping[str, CompiledModel],
    parts: Mapping[str, GraphFile],
    folder: Path,
    on_progress: Callable[[Progress], None] | None,
) -> None:
    """Write one graph to one file, several to theirs with one file of weights."""
    from tfgraph.backends.onnx.write import save_models

    def writing(file: str) -> Callable[[int, int], None] | None:
        return None if on_progress is None else lambda done, total: on_progress(Progress("write", file, done, total))

    if len(compiled) == 1:
        for name, model in compiled.items():
            model.save(folder / parts[name].file, on_progress=writing(parts[name].file))
        return
    models = {parts[name].file: model.to_onnx_ir() for name, model in compiled.items()}
    save_models(models, folder, WEIGHTS_FILE, on_progress=writing(WEIGHTS_FILE))


def _refuse_own_folder(model: object, out: Path) -> None:
    if isinstance(model, Pretrained) and os.path.exists(out) and out.samefile(model.path):
        raise ExportError(
            f"cannot export into {out}: it is the folder of the checkpoint. Choose another, such as {out / 'onnx'}"
        )


@contextmanager
def _naming_final_place(staging: Staging) -> Iterator[None]:
    """Let errors name the place that a file is on its way to, not the one where it is made."""
    try:
        yield
    except (ExportError, CheckpointError) as error:
        raise type(error)(str(error).replace(str(staging.folder), str(staging.target))) from None


def _copy_checkpoint_files(model: Pretrained, staging: Staging) -> dict[str, Any]:
    """Copy the configuration and the tokenizer, and return what the manifest says about the model."""
    with refusals_of(staging.target):
        for name in (CONFIG_FILE, GENERATION_FILE):
            if (model.path / name).is_file():
                shutil.copyfile(model.path / name, staging.folder / name)
        if not (staging.folder / CONFIG_FILE).is_file() or read_config(staging.folder) != model.settings:
            text = json.dumps(model.settings, indent=2, ensure_ascii=False)  # of a checkpoint in another layout
            (staging.folder / CONFIG_FILE).write_text(f"{text}\n", encoding="utf-8")
    if model.tokenizer is not None:
        model.tokenizer.copy_to(staging.folder)
    facts = dict(model.metadata)
    problem_type = model.settings.get(_PROBLEM_TYPE)
    if model.labels and isinstance(problem_type, str):
        facts[_PROBLEM_TYPE] = problem_type
    return facts


def _older_files(folder: Path) -> list[str]:
    """The files of an older export in the folder; they go where the new one has no such file."""
    try:
        return list(read_manifest(folder).files)
    except ConfigError:  # none, or one that says nothing that can be relied on
        return []


def _check_file(compiled: CompiledModel, path: Path) -> None:
    """Compare the file, run as it is written, with the graph that it was made from.

    Raises:
        VerificationError: an output differs by more than the table of tolerances allows.
    """
    from tfgraph.backends.onnxruntime.session import Session
    from tfgraph.ir.interpret import interpret
    from tfgraph.random_inputs import random_inputs
    from tfgraph.tolerance import TOLERANCE, relative_error

    inputs = random_inputs(compiled.graph)
    expected = interpret(compiled.graph, inputs)
    for name, array in Session(path, optimize=False).run(inputs).items():
        error = relative_error(array, expected[name])
        allowed = TOLERANCE.get(compiled.graph.outputs[name].dtype, 0.0)
        if error > allowed:
            raise VerificationError(
                f"the written file gives the output '{name}' with an error of {error:.3g} relative to its largest "
                f"value; {allowed:.3g} is allowed. This is a bug in the export to {compiled.target.name}: please "
                "report it with the model"
            )
