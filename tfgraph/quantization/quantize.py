"""Quantising a prepared graph as a user asked: observe, make choices, search, and say what came out.

The parts are in the modules beside this one; carrying the plan out is `tfgraph.passes.quantise`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from tfgraph.capabilities import Capabilities
from tfgraph.ir.copy import copy_graph
from tfgraph.ir.graph import Graph
from tfgraph.passes.quantise.sites import Site, find_sites, sites_by_name
from tfgraph.quantization.budget import distance
from tfgraph.quantization.calibration import Calibration, Case
from tfgraph.quantization.metrics import LOGITS, Tally
from tfgraph.quantization.observe import Activation, observe
from tfgraph.quantization.outcome import CALIBRATED, Quantization, TrialRow
from tfgraph.quantization.profiles import Profile, profile_for
from tfgraph.quantization.request import Request, calibration_of, is_decoder, overridden
from tfgraph.quantization.runner import Runner
from tfgraph.quantization.schemes import FLOAT, bits_of, uses_hessian
from tfgraph.quantization.search import Selection, plan_of, search
from tfgraph.quantization.units import Choice, Unit, distinct, group_sites, make_unit

if TYPE_CHECKING:
    from tfgraph.passes.base import Pipeline

OnStep = Callable[[str, int, int], None]
"""Called as `on_step(what, done, total)`."""

_SENSITIVITY_UNITS: Final = 64
"""Up to so many units, the harm of each is measured; of more, it is estimated from its products alone."""

_SENSITIVITY_CASES: Final = 2


def quantize(
    request: Request,
    model: Any,
    graph: Graph,
    target: Capabilities,
    *,
    num_threads: int | None = None,
    on_step: OnStep | None = None,
) -> Quantization:
    """How the prepared `graph` of `model` is to be quantised for `target`, as `request` asks.

    Raises:
        ConfigError: a pattern that matches nothing, a metric that cannot be measured, calibration that does not fit.
        InputError: calibration that cannot be read, or is too little.
        TargetError: a precision that is not available here.
        BudgetError: nothing stays within the budget.
    """
    profile = profile_for(request.precision, decoder=is_decoder(graph))
    sites = find_sites(graph)
    forced = overridden(sites, request.sites)
    given = calibration_of(request, model, graph)
    if given is None:
        units = _units(sites, forced, _blind(profile), {}, on_step)
        return _outcome(request, units, (0,) * len(units), sites)
    calibration, sibling = given
    if request.budget is None:  # nothing to search: no other scheme is asked about
        profile = replace(profile, linear=(profile.unbudgeted,), embedding=profile.embedding[:1])
    measured = _Measured.over(
        graph if sibling is None else _prepared(sibling, target), target, num_threads, calibration
    )
    hessians = any(uses_hessian(name) for name in (*profile.linear, *forced.values()))
    seen = measured.observe(sites, hessians, on_step)
    units = _units([site for site in sites if site.name in measured.names], forced, profile, seen, on_step)
    return measured.choose(request, units, sites, on_step)


def _blind(profile: Profile) -> Profile:
    """The profile where no error can be measured: one scheme for each kind of site, and no smoothing."""
    return replace(profile, linear=(profile.uncalibrated,), embedding=profile.embedding[:1], smooth=False)


def _prepared(graph: Graph, target: Capabilities) -> Graph:
    from tfgraph.passes.pipeline import preparing

    pipeline: Pipeline = preparing()
    pipeline.run(graph, target)
    return graph


def _units(
    sites: Sequence[Site],
    forced: Mapping[str, str],
    profile: Profile,
    seen: Mapping[str, Activation],
    on_step: OnStep | None,
) -> list[Unit]:
    """The units of all sites; one that the user gave a scheme is on its own, with that scheme alone."""
    groups = group_sites([site for site in sites if site.name not in forced])
    wanted: list[Sequence[str] | None] = [None] * len(groups)
    for site in sites:
        if site.name in forced:
            groups.append((site,))
            wanted.append([forced[site.name]])
    units = []
    for index, (group, names) in enumerate(zip(groups, wanted, strict=True)):
        _tell(on_step, "quantising weights", index, len(groups))
        units.append(make_unit(group, profile, seen, names))
    return units


@dataclass
class _Measured:
    """What errors are measured on."""

    runner: Runner
    calibration: Calibration
    names: frozenset[str]
    tallies: dict[tuple[Selection, bool], Tally] = field(default_factory=dict)

    @classmethod
    def over(cls, graph: Graph, target: Capabilities, num_threads: int | None, calibration: Calibration) -> _Measured:
        runner = Runner(copy_graph(graph), target, num_threads)
        runner.check([*calibration.cases, *calibration.held_out])
        return cls(runner, calibration, frozenset(site.name for site in find_sites(runner.graph)))

    def observe(self, sites: Sequence[Site], hessians: bool, on_step: OnStep | None) -> dict[str, Activation]:
        """The activations of the sites, by the names that they have in the graph that is quantised."""
        own = sites_by_name(find_sites(self.runner.graph))
        wanted = [own[site.name] for site in sites if site.name in own]
        seen = observe(
            self.runner.graph, self.runner.target,
            self.calibration.cases, wanted,
            hessians=hessians, num_threads=self.runner.num_threads,
            on_case=lambda *step: _tell(on_step, "observing", *step),
        )  # fmt: skip
        return {
            site.activation.name: seen[own[site.name].activation.name]
            for site in sites
            if site.name in own and own[site.name].activation.name in seen
        }

    def tally(self, units: Sequence[Unit], selection: Selection, *, held_out: bool) -> Tally:
        """What was measured of a selection."""
        key = (selection, held_out)
        if key not in self.tallies:
            cases = self.calibration.held_out if held_out else self.calibration.cases
            self.tallies[key] = self.runner.measure(plan_of(units, selection), cases)
        return self.tallies[key]

    def choose(
        self, request: Request, units: list[Unit], sites: Sequence[Site], on_step: OnStep | None
    ) -> Quantization:
        """What the request comes to: the fastest choices, or with a budget those that keep within it."""
        budget = request.budget
        selection: Selection = (0,) * len(units)
        trials: tuple[TrialRow, ...] = ()
        if budget is not None:
            metric = budget.metric
            _tell(on_step, "searching", 0, 0)
            if not budget.met_by(self.tally(units, selection, held_out=False).value(metric)):
                units = self.sensitive(units, on_step)
            found = search(
                units,
                budget,
                lambda tried: self.tally(units, tried, held_out=False).value(metric),
                lambda tried: self.tally(units, tried, held_out=True).value(metric),
                lambda count: _tell(on_step, "searching", count, 0),
            )
            selection = found.selection
            trials = tuple(
                TrialRow(_counts(units, trial.selection), trial.value, trial.within, _megabytes(units, trial.selection))
                for trial in found.trials
            )
        outcome = _outcome(request, units, selection, sites)
        return replace(
            outcome,
            method=CALIBRATED,
            metric="" if budget is None else budget.metric,
            measured=self.tally(units, selection, held_out=False).values(),
            held_out=self.tally(units, selection, held_out=True).values(),
            num_cases=len(self.calibration.cases),
            num_held_out=len(self.calibration.held_out),
            trials=trials,
        )

    def sensitive(self, units: list[Unit], on_step: OnStep | None) -> list[Unit]:
        """The units with errors that say what each does to the whole model, measured with that unit quantised alone."""
        if len(units) > _SENSITIVITY_UNITS:
            return units
        cases = _some(self.calibration.cases)
        found = []
        for index, unit in enumerate(units):
            _tell(on_step, "measuring sensitivity", index, len(units))
            first = unit.choices[0]
            if len(unit.choices) == 1 or first.scheme == FLOAT or not first.error:
                found.append(unit)
                continue
            tally = self.runner.measure(first.plans(), cases)
            scale = _harm(tally, self.runner.outputs) / first.error
            found.append(Unit(unit.sites, tuple(replace(each, error=each.error * scale) for each in unit.choices)))
        return found


def _some(cases: Sequence[Case]) -> list[Case]:
    """A few cases, from the middle on: neither the shortest nor the longest texts."""
    start = max(0, len(cases) // 2 - _SENSITIVITY_CASES // 2)
    return list(cases[start : start + _SENSITIVITY_CASES])


def _harm(tally: Tally, outputs: Sequence[str]) -> float:
    """A number that adds up over independent errors: of logits the divergence, else 1 minus the cosine."""
    values = tally.values()
    metric = "kl" if LOGITS in outputs and "kl" in values else "cosine"
    return max(distance(metric, values[metric]), 1e-12)


def _outcome(request: Request, units: Sequence[Unit], selection: Selection, sites: Sequence[Site]) -> Quantization:
    """The outcome of a selection, of which nothing was measured yet."""
    chosen: dict[str, Choice] = {}
    for unit, position in zip(units, selection, strict=True):
        chosen.update({site.name: unit.choices[position] for site in unit.sites})
    schemes = {site.name: chosen[site.name].scheme if site.name in chosen else FLOAT for site in sites}
    smoothing = {name: choice.exponent for name, choice in chosen.items() if choice.exponent}
    weights = sum(site.num_parameters for site in distinct(sites)) * 4
    return Quantization(
        precision=request.precision,
        schemes=schemes,
        plan=plan_of(units, selection),
        smoothing=smoothing,
        budget="" if request.budget is None else str(request.budget),
        overrides=dict(request.sites),
        megabytes=_megabytes(units, selection),
        float_megabytes=weights / 1e6,
    )


def _counts(units: Sequence[Unit], selection: Selection) -> Counter[str]:
    counts: Counter[str] = Counter()
    for unit, position in zip(units, selection, strict=True):
        counts[unit.choices[position].scheme] += len(unit.sites)
    return counts


def _megabytes(units: Sequence[Unit], selection: Selection) -> float:
    chosen = zip(units, selection, strict=True)
    return sum(unit.num_parameters * bits_of(unit.choices[at].scheme) for unit, at in chosen) / 8e6


def _tell(on_step: OnStep | None, what: str, done: int, total: int) -> None:
    if on_step is not None:
        on_step(what, done, total)
