"""Passes and pipelines: what a pass is, and how a row of them is run, checked, timed and dumped."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tfgraph.capabilities import Capabilities
from tfgraph.errors import ExportError, GraphError, VerificationError
from tfgraph.ir.graph import Graph
from tfgraph.ir.verify import verify
from tfgraph.passes.report import PassResult, Report, Stage


class Pass(Protocol):
    """A rewrite of a graph in place.

    `requires` and `ensures` are names of properties of the graph, such as `"canonical"`: what must have been
    established before, and what holds afterwards.
    """

    @property
    def name(self) -> str:
        """What reports and dumps call the pass."""

    @property
    def requires(self) -> frozenset[str]:
        """Properties that must hold before."""

    @property
    def ensures(self) -> frozenset[str]:
        """Properties that hold afterwards."""

    def run(self, graph: Graph, target: Capabilities) -> PassResult:
        """Rewrite `graph` for `target`, and say what changed."""


@dataclass(frozen=True)
class FunctionPass:
    """A pass that is one function."""

    name: str
    function: Callable[[Graph, Capabilities], PassResult]
    requires: frozenset[str] = frozenset()
    ensures: frozenset[str] = frozenset()

    def run(self, graph: Graph, target: Capabilities) -> PassResult:
        return self.function(graph, target)


@dataclass(frozen=True)
class Pipeline:
    """Passes in order.

    Raises:
        GraphError: (when made) a pass requires a property that none before it ensures.
    """

    passes: Sequence[Pass]

    def __post_init__(self) -> None:
        established: set[str] = set()
        for step in self.passes:
            missing = step.requires - established
            if missing:
                raise GraphError(
                    f"pass '{step.name}' requires {', '.join(sorted(missing))}: no earlier pass ensures it"
                )
            established |= step.ensures

    def run(
        self,
        graph: Graph,
        target: Capabilities,
        *,
        check: Callable[[str, Graph], None] | None = None,
        on_progress: Callable[[str, int, int], None] | None = None,
    ) -> Report:
        """Run all passes on `graph`, in place.

        With `check`, the verifier runs after every pass, and then `check(pass_name, graph)`, which may compare numbers.
        `on_progress(pass_name, index, count)` is called before each pass. If the environment has `TFGRAPH_DUMP`, the
        graph's text is written to that folder before the first and after each pass.

        Raises:
            VerificationError: a pass broke the graph (only with `check`); the message names it.
            ExportError: the folder for the dumps cannot be written.
        """
        report = Report(target.name, nodes_before=len(graph))
        dump_folder = os.environ.get("TFGRAPH_DUMP")
        dump = _Dump(Path(dump_folder)) if dump_folder else None
        if dump:
            dump.write("before", graph)
        for index, step in enumerate(self.passes):
            if on_progress:
                on_progress(step.name, index, len(self.passes))
            start = time.perf_counter()
            result = step.run(graph, target)
            report.stages.append(Stage(step.name, result, time.perf_counter() - start))
            if dump:
                dump.write(step.name, graph)
            if check:
                _verify_after(step.name, graph)
                check(step.name, graph)
        report.nodes_after = len(graph)
        report.operators = Counter(node.key for node in graph)
        return report


def _verify_after(name: str, graph: Graph) -> None:
    try:
        verify(graph)
    except VerificationError as error:
        message = f"pass '{name}' broke the graph: {error}. This is a bug in the pass: please report it with the model"
        raise VerificationError(message) from error


class _Dump:
    """Numbered files of a graph's text in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def write(self, label: str, graph: Graph) -> None:
        """Write the text of `graph` to the next file.

        Raises:
            ExportError: the folder or the file cannot be written.
        """
        name = re.sub(r"[^\w.-]+", "_", graph.name)  # a model's name may hold slashes
        path = self._folder / f"{name}.{self._count:02d}.{label}.txt"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path.write_text(str(graph), encoding="utf-8")
        except OSError as error:
            reason = error.strerror or str(error)
            raise ExportError(f"cannot write {path}: {reason}. TFGRAPH_DUMP must name a folder to write to") from None
        self._count += 1
