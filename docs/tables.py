"""Tables that the documentation takes from the code when it is built, so that they are never out of date.

A page says `<!-- table: NAME -->`, with a name from `TABLES`; mkdocs calls `on_page_markdown` for every page.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

_MARK = re.compile(r"^<!-- table: (.+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_context: Any) -> str:
    """mkdocs' hook: the page with its tables in place of their marks."""
    return _MARK.sub(lambda found: TABLES[found[1]](), markdown)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _first_line(documented: object) -> str:
    line = (inspect.getdoc(documented) or "").partition("\n")[0]
    return line.partition("; see ")[0].rstrip(".") + "."


def canonical_forms() -> str:
    """Every canonical rule: its theme, its name in reports, and what it does."""
    from tfgraph.passes import canonical
    from tfgraph.passes.rewrite import RuleSet

    rows = []
    for found in pkgutil.iter_modules(canonical.__path__):
        module = importlib.import_module(f"{canonical.__name__}.{found.name}")
        own = [each for each in vars(module).values() if isinstance(each, RuleSet)]
        rules = {rule.name: rule.function for each in own for listed in each.rules.values() for rule in listed}
        for name, function in rules.items():
            if function.__module__ == module.__name__:
                rows.append([f"`{found.name}`", f"`{name}`", _first_line(function)])
    return _table(["Theme", "Rule", "What it does"], rows)


def fusions() -> str:
    """Every fused operator, and in how many ways it is looked for."""
    from tfgraph.passes.fusions import CONTRIB, FOLDED_ATTENTION, MULTI_HEAD_ATTENTION, PACKED_ATTENTION, STANDARD

    forms: dict[tuple[str, str], int] = {}
    for where, listed in (
        ("every target", STANDARD),
        ("targets that take heads folded, such as `cpu`", (FOLDED_ATTENTION,)),
        ("targets whose attention is `microsoft`", (MULTI_HEAD_ATTENTION, PACKED_ATTENTION)),
        ("targets that list it", CONTRIB),
    ):
        for fusion in listed:
            forms[fusion.key, where] = forms.get((fusion.key, where), 0) + len(fusion.variants)
    rows = [[f"`{key}`", where, str(count)] for (key, where), count in forms.items()]
    return _table(["Operator", "Looked for on", "Forms of its definition"], rows)


def targets() -> str:
    """Every target, with what is stamped on its files."""
    from tfgraph.targets import get_target, target_names

    rows = []
    for target in map(get_target, target_names()):
        domains = ", ".join(f"`{domain}`" for domain in target.domains) or "none"
        rows.append(
            [f"`{target.name}`", str(target.opset), str(target.ir_version), domains, f"`{target.attention.layout}`"]
        )
    return _table(["Target", "Opset", "IR version", "Other domains", "Attention"], rows)


def composites_by_target() -> str:
    """Every composite operator, and what becomes of it on each target."""
    from tfgraph.ir.optable import all_specs
    from tfgraph.targets import get_target, target_names

    listed = [get_target(name) for name in target_names()]
    rows = []
    for spec in all_specs():
        if spec.body is None:
            continue
        cells = []
        for target in listed:
            support = target.operators.get(spec.key)
            if support is None:
                cells.append("written out")
            elif support.slower_than_body:
                cells.append(f"written out: {support.slower_than_body}")
            else:
                dtypes = ", ".join(sorted(str(dtype) for dtype in support.dtypes))
                cells.append(f"kept ({dtypes})" if dtypes else "kept")
        rows.append([f"`{spec.key}`", *cells])
    return _table(["Operator", *(f"`{target.name}`" for target in listed)], rows)


def tolerances() -> str:
    """How far results may be apart."""
    from tfgraph.tolerance import TOLERANCE

    return _table(["Element type", "Largest relative error"], [[str(key), f"{TOLERANCE[key]:g}"] for key in TOLERANCE])


def tasks() -> str:
    """What a checkpoint can be loaded for."""
    from tfgraph.models.family import TASKS

    return _table(["Task", "What the model returns"], [[f"`{name}`", meaning] for name, meaning in TASKS.items()])


def families() -> str:
    """Every model family, what kind of model it is, and its tasks."""
    from tfgraph.models import configs
    from tfgraph.models.declared import main_task
    from tfgraph.models.registry import FAMILIES, find_family

    kinds = {"base": "encoder", "text-generation": "decoder", "seq2seq-lm": "encoder-decoder"}
    sizes = [config.model_type for config in configs.values()]
    rows = []
    for model_type, home in FAMILIES.items():
        family = find_family(model_type)
        module = home.partition(":")[0].rpartition(".")[2]
        tasks = ", ".join(f"`{architecture.task}`" for architecture in family.architectures)
        rows.append(
            [f"`{model_type}`", kinds[main_task(family)], f"`{module}.py`", str(sizes.count(model_type)), tasks]
        )
    return _table(["`model_type`", "Kind", "In", "Published sizes", "Tasks"], rows)


def published_sizes() -> str:
    """Every published size, with its number of parameters."""
    from tfgraph.models.sizes import find_sizes

    rows = []
    for size in find_sizes():
        layers = f"{size.layers}" if size.decoder_layers is None else f"{size.layers} + {size.decoder_layers}"
        numbers = (size.hidden_size, size.heads, size.kv_heads, size.max_length, size.parameters)
        rows.append([f"`{size.name}`", f"`{size.family}`", layers, *(f"{number:,}" for number in numbers)])
    columns = ["Name", "Family", "Layers", "Hidden size", "Heads", "Heads of key and value", "Context", "Parameters"]
    return _table(columns, rows)


def generation_settings() -> str:
    """Every setting of text generation, with its default, from the docstring of the class."""
    from dataclasses import fields

    from tfgraph.generation import GenerationSettings

    documented = (inspect.getdoc(GenerationSettings) or "").partition("Attributes:")[2].partition("Raises:")[0]
    meanings = dict(re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", documented, re.MULTILINE))
    rows = [
        [f"`{field.name}`", f"`{field.default!r}`", " ".join(meanings[field.name].split())]
        for field in fields(GenerationSettings)
    ]
    return _table(["Setting", "Default", "Meaning"], rows)


def errors() -> str:
    """Every error, and what it is raised for."""
    from tfgraph import errors as module

    raised = [each for each in vars(module).values() if inspect.isclass(each) and each.__module__ == module.__name__]
    return _table(["Error", "Raised for"], [[f"`{each.__name__}`", _first_line(each)] for each in raised])


TABLES: dict[str, Callable[[], str]] = {
    "canonical forms": canonical_forms,
    "composites by target": composites_by_target,
    "errors": errors,
    "families": families,
    "fusions": fusions,
    "generation settings": generation_settings,
    "published sizes": published_sizes,
    "targets": targets,
    "tasks": tasks,
    "tolerances": tolerances,
}
