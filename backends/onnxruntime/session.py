"""A model loaded in ONNX Runtime: run with arrays by name, wrong inputs reported before ONNX Runtime sees them.

Repeated runs over fixed buffers are in `binding.py`, those that pass a cache on in `cache.py` and `fixed_cache.py`;
execution providers are in `providers.py`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tfgraph.backends.interface import RunsArrays, check_inputs, output_names
from tfgraph.backends.onnxruntime.binding import Binding
from tfgraph.backends.onnxruntime.cache import GrowingCache
from tfgraph.backends.onnxruntime.errors import kind, message, runtime_errors, runtime_errors_as
from tfgraph.backends.onnxruntime.fixed_cache import FixedCache
from tfgraph.backends.onnxruntime.prepared import prepared_model
from tfgraph.backends.onnxruntime.providers import CPU_PROVIDER, find_provider
from tfgraph.backends.onnxruntime.specs import read_specs
from tfgraph.backends.onnxruntime.values import from_ort_value, is_plain, to_ort_value
from tfgraph.backends.threads import Threads, choose_threads
from tfgraph.errors import OnnxError, TargetError
from tfgraph.ir.constant import Array

_DAMAGED: Final = frozenset({"InvalidProtobuf", "InvalidGraph", "NoSuchFile", "NoModel"})
_UNSUPPORTED: Final = frozenset({"NotImplemented", "EPFail"})


class Session(RunsArrays):
    """A model loaded in ONNX Runtime.

    Args:
        model: the bytes of an ONNX file, or its path (needed where the weights are in external data).
        provider: an execution provider, in full or in short ("cuda"). Nodes that it lacks run on the CPU.
        num_threads: threads inside an operator; None for as many as `tfgraph.backends.threads` finds best.
        optimize: whether ONNX Runtime may rewrite the graph when it loads it.
        profile: prefix of the file for ONNX Runtime's profile; `end_profile` closes it.
        may_be_empty: symbols that may be 0 in a run, besides those whose name starts with `past`.
        config: entries of ONNX Runtime's session configuration, such as `{"session.force_spinning_stop": "1"}`.
        quiet: keep ONNX Runtime from logging an error that is raised as well.
        cache: a folder for the model as the CPU's provider has prepared it, so that the next session starts at once
            and shares its weights with this one; see `prepared.py`. Of a model in a file only.

    Raises:
        ExportError: the cache cannot be written.
        TargetError: the provider does not work here, or lacks a kernel that the model needs.
        OnnxError: ONNX Runtime cannot load the model.
    """

    def __init__(
        self,
        model: bytes | str | os.PathLike[str],
        *,
        provider: str = CPU_PROVIDER,
        num_threads: int | None = None,
        optimize: bool = True,
        profile: str | os.PathLike[str] | None = None,
        may_be_empty: Collection[str] = (),
        config: Mapping[str, str] | None = None,
        quiet: bool = False,
        cache: Path | None = None,
    ) -> None:
        self.provider = find_provider(provider)
        self.may_be_empty = frozenset(may_be_empty)
        threads = choose_threads() if num_threads is None else Threads(num_threads)
        settings = {**_affinity(threads), **(config or {})}
        options = _options(threads, optimize, settings, quiet)
        providers = [self.provider] if self.provider == CPU_PROVIDER else [self.provider, CPU_PROVIDER]
        if cache is not None and optimize and self.provider == CPU_PROVIDER and not isinstance(model, bytes):

            def make(path: Path, writing: dict[str, str]) -> None:
                preparing = _options(threads, optimize, {**settings, **writing}, quiet)
                preparing.optimized_model_filepath = os.fspath(path)
                _load(model, preparing, providers)

            model = prepared_model(Path(model), cache, make)
            options = _options(threads, False, settings, quiet)
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = os.fspath(profile)
        self._session = _load(model, options, providers)
        if self._session.get_providers()[0] != self.provider:
            raise TargetError(f"ONNX Runtime fell back from {self.provider} to {self._session.get_providers()[0]}")
        self._inputs = read_specs(self._session.get_inputs())
        self._outputs = read_specs(self._session.get_outputs())
        self._all_plain = all(is_plain(spec.dtype) for spec in (*self._inputs.values(), *self._outputs.values()))

    def run(self, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run the model.

        Args:
            inputs: an array (or nested lists) for each input, of the declared dtype and shape; a list of arrays for a
                sequence, and for an optional value None where it is missing.
            outputs: names of the outputs to compute; all by default.

        Returns:
            The results by name: arrays, and for what is no tensor what `inputs` takes.

        Raises:
            InputError: an input or output name is wrong, or an input has a wrong dtype or shape.
            TargetError: ONNX Runtime failed while it ran.
        """
        names = output_names(self._outputs, outputs)
        arrays, _ = check_inputs(self._inputs, inputs, self.may_be_empty)
        with runtime_errors_as(TargetError, "ONNX Runtime failed while it ran the model"):
            if self._all_plain:
                results = self._session.run(names, arrays)
                return dict(zip(names, results, strict=True))
            values = {name: to_ort_value(array, self._inputs[name].dtype) for name, array in arrays.items()}
            found = self._session.run_with_ort_values(names, values)
            return {
                name: from_ort_value(value, self._outputs[name].dtype) for name, value in zip(names, found, strict=True)
            }

    def bind(self, inputs: Mapping[str, Any], outputs: Mapping[str, Array] | None = None) -> Binding:
        """Runs over fixed buffers: see `Binding`.

        Raises:
            InputError: as `run` does, or an output buffer that does not fit.
        """
        return Binding(self._session, self._inputs, self._outputs, inputs, outputs or {}, self.may_be_empty)

    def growing_cache(self) -> GrowingCache:
        """Runs of a model that takes and gives a cache of keys and values: see `GrowingCache`.

        Raises:
            InputError: the model has no cache.
        """
        return GrowingCache(self._session, self._inputs, self._outputs)

    def fixed_cache(self) -> FixedCache:
        """Runs of a model that writes into a cache of fixed length in place: see `FixedCache`.

        Raises:
            InputError: the model has no such cache.
        """
        return FixedCache(self.bind, self._inputs, self._outputs)

    def end_profile(self) -> Path:
        """Close the profile that the session was asked for, and return its path."""
        return Path(self._session.end_profiling())


def _affinity(threads: Threads) -> dict[str, str]:
    """The session configuration that keeps each thread but the calling one, counted from 1, on its processor."""
    if threads.count < 2 or not threads.processors:
        return {}
    return {"session.intra_op_thread_affinities": ";".join(str(number + 1) for number in threads.processors[1:])}


def _options(threads: Threads, optimize: bool, config: Mapping[str, str], quiet: bool) -> Any:
    """Settings of a session.

    Raises:
        TargetError: fewer than one thread.
    """
    import onnxruntime

    if threads.count < 1:
        raise TargetError(f"a session cannot run with {threads.count} threads: expected 1 or more")
    options = onnxruntime.SessionOptions()
    # 3: errors; its warnings are about placement and shapes. 4: not even those
    options.log_severity_level = 4 if quiet else 3
    options.intra_op_num_threads = threads.count
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    for key, setting in config.items():
        options.add_session_config_entry(key, setting)
    return options


def _load(model: bytes | str | os.PathLike[str], options: Any, providers: list[str]) -> Any:
    import onnxruntime

    source = model if isinstance(model, bytes) else os.fspath(model)
    label = "the model" if isinstance(model, bytes) else str(source)
    try:
        return onnxruntime.InferenceSession(source, options, providers=providers, enable_fallback=0)
    except runtime_errors() as error:
        text = message(error)
        if kind(error) in _UNSUPPORTED or "NOT_IMPLEMENTED" in text:
            raise TargetError(f"{providers[0]} lacks a kernel that {label} needs: {text}") from None
        if kind(error) in _DAMAGED:
            raise OnnxError(f"ONNX Runtime finds {label} damaged or invalid: {text}") from None
        raise OnnxError(f"ONNX Runtime cannot load {label}: {text}") from None
