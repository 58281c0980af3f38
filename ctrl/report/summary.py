"""The summary of a comparison: sentences that are included only if its numbers support them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from ctrl.comparison.data import ComparisonData
from ctrl.comparison.metrics import Metrics
from ctrl.comparison.verdicts import Verdict
from ctrl.report.differences import CHANCE, Difference, broken, differences, exceeds
from ctrl.report.numbers import duration, interval, joined, number, percent, rate
from systems import Budget, Chance
from systems.statistics import Estimate, Rate
from systems.true_plant import difference

__all__ = ["Answer", "summary"]


@final
@dataclass(frozen=True)
class Answer:
    """A question about a comparison, with the sentences that answer it.

    Args:
        question: in a few words.
        sentences: the answer.
    """

    question: str
    sentences: tuple[str, ...]


def summary(comparison: ComparisonData) -> tuple[Answer, ...]:
    """Questions and answers that summarise a comparison.

    Args:
        comparison: its results.
    """
    measured = (Answer("What was measured?", tuple(_measured(comparison))),) if comparison.task.measurement else ()
    return (
        Answer("Which controller is better?", tuple(_costs(comparison))),
        Answer("Which constraints are violated?", tuple(_violations(comparison))),
        Answer("What is proved, and what is sampled?", tuple(_regions(comparison))),
        Answer("How long does a step take?", tuple(_times(comparison))),
        *measured,
        Answer("What was approximated?", tuple(_approximations(comparison))),
        Answer("What did they have in common?", tuple(_equal(comparison))),
    )


def _costs(comparison: ComparisonData) -> Iterator[str]:
    means = {name: metrics.cost.value for name, metrics in comparison.metrics.items()}
    order = sorted(means, key=lambda name: np.nan_to_num(means[name], nan=np.inf))
    keeping = [name for name in order if not broken(comparison, name)]
    best, runs = (keeping or order)[0], len(comparison.starts)
    among = ""
    if len(keeping) < len(order):
        every = f"every constraint{_but_soft(comparison)}"
        stayed = " and stayed in the domain" if comparison.task.domain is not None else ""
        if not stayed and any(metrics.left.k for metrics in comparison.metrics.values()):
            stayed = " and did not diverge"
        among = f" of those that kept {every}" if keeping else ""
        yield (
            f"{joined(keeping)} kept {every}{stayed}; {_breaking(comparison)}."
            if keeping
            else f"No controller kept {every}{stayed}: {_breaking(comparison)}."
        )
    cost = comparison.metrics[best].cost
    if len(order) == 1:
        yield f"The mean cost of {best} is {interval(cost)} over {_runs(runs)}; there is nothing to compare it with."
        return
    yield (
        f"{best} has the lowest mean cost{among}: {interval(cost)} over {_runs(runs)}."
        if np.isfinite(cost.value)
        else f"No controller{among} has a finite mean cost over {_runs(runs)}."
    )
    pairs = differences({name: comparison.runs[name].cost for name in order})
    for name in order:
        if name != best:
            yield _compared(comparison, best, name, pairs[frozenset((best, name))])
    rest = [name for name in order if name != best]
    for i, name in enumerate(rest[:-1]):
        other = pairs[frozenset((name, rest[i + 1]))]
        both_beside = all(_is_clear(pairs, best, one) for one in (name, rest[i + 1]))
        if both_beside and not other.is_clear:
            yield _tied(other)
    if any(np.isfinite(pair.cost.low) for pair in pairs.values()):
        yield (
            f"Intervals of differences: from paired runs, for all {len(pairs)} pairs together at 95\u00a0%."
            if len(pairs) > 1
            else "Interval of the difference: from paired runs, at 95\u00a0%."
        )


def _compared(comparison: ComparisonData, best: str, name: str, pair: Difference) -> str:
    """One controller compared with the reference of the comparison."""
    if not pair.is_clear:
        each = ((one, _lost(comparison, one, unlike=other)) for one, other in ((best, name), (name, best)))
        differing = [f"{one} {lost}" for one, lost in each if lost]
        return f"{_tied(pair)[:-1]}; but {' and '.join(differing)}." if differing else _tied(pair)
    first, second = pair.first, pair.second
    # A lower cost achieved by violating the task's requirements does not make a controller better.
    if not broken(comparison, first):
        return f"{first} is better than {second} by {_difference(pair)}."
    less = f"{first} costs less than {second} by {_difference(pair)}"
    lost, shared = _lost(comparison, first, unlike=second), _shared(comparison, first, second)
    if not shared:
        return f"{less}, but {lost}, unlike {second}: that cost is not comparable."
    return f"{less}, but {f'{lost}, and ' if lost else ''}{shared}: these costs are not comparable."


def _lost(comparison: ComparisonData, name: str, unlike: str | None = None) -> str:
    """The violations of a controller, as the end of a sentence about it; empty if there are none.

    Args:
        comparison: its results.
        name: of the controller.
        unlike: another controller, whose violations are left out; default: none are.
    """
    lost = broken(comparison, name)
    reported = lost.keys() - (broken(comparison, unlike).keys() if unlike is not None else set())
    words = [text for key, text in lost.items() if key is not None and key in reported]
    parts = [f"did not keep {joined(words)}"] if words else []
    return " and ".join([*parts, *([lost[None]] if None in reported else [])])


def _shared(comparison: ComparisonData, first: str, second: str) -> str:
    """The requirements that both controllers violated; empty if there are none."""
    one, other = broken(comparison, first), broken(comparison, second)
    shared = [key for key in one if key is not None and key in other]
    parts = []
    if shared:
        reaches_beyond = any(lost[key].endswith(CHANCE) for lost in (one, other) for key in shared)
        verb = "can be said to have kept" if reaches_beyond else "kept"
        named = "', '".join(shared)
        parts.append(f"neither {verb} '{named}'")
    if None in one and None in other:
        parts.append(f"both {one[None]}")
    return " and ".join(parts)


def _but_soft(comparison: ComparisonData) -> str:
    """Soft constraints are part of the cost, so violating one does not count against a controller again."""
    verdicts = next(iter(comparison.metrics.values())).verdicts
    return "" if all(verdict.counts for verdict in verdicts) else " that is not soft"


def _tied(pair: Difference) -> str:
    if pair.is_negligible:
        return f"{pair.first} and {pair.second} are tied: no run differs in cost by more than a millionth."
    if not np.isfinite(pair.cost.value):
        return f"The costs of {pair.first} and {pair.second} cannot be compared: a mean cost is not finite."
    if not np.isfinite(pair.cost.low):
        return (
            f"{pair.first} and {pair.second} cannot be distinguished: a single run gives no interval of the difference "
            "of their costs."
        )
    return (
        f"{pair.first} and {pair.second} are tied: the difference of their mean costs is {_difference(pair)}, which "
        "includes zero."
    )


def _is_clear(pairs: Mapping[frozenset[str], Difference], one: str, other: str) -> bool:
    return pairs[frozenset((one, other))].is_clear


def _difference(pair: Difference) -> str:
    share = ""
    if abs(pair.share) < 1:
        share = f", {100 * pair.share:.2g}\u00a0% of the mean cost of {pair.first}"
    elif np.isfinite(pair.share):
        share = f", {number(pair.share, 2)} times the mean cost of {pair.first}"
    return f"{interval(pair.cost, level='')}{share}"


def _breaking(comparison: ComparisonData) -> str:
    return "; ".join(f"{name} {lost}" for name in comparison.metrics if (lost := _lost(comparison, name)))


def _violations(comparison: ComparisonData) -> Iterator[str]:
    task, runs = comparison.task, len(comparison.starts)
    if not task.constraints and task.domain is None:
        yield "The task has no constraints and no domain."
        if not any(metrics.left.k for metrics in comparison.metrics.values()):
            return
    clean = [name for name, m in comparison.metrics.items() if not m.violated.k and not m.left.k]
    if clean:
        each = ", for each of them" if len(clean) > 1 else ""
        yield f"{joined(clean)}: no violation; {rate(Rate(0, runs))} have a violation{each}."
    for name, metrics in comparison.metrics.items():
        if name in clean:
            continue
        parts = [text for verdict in metrics.verdicts if (text := _verdict(verdict, metrics, task.dt))]
        if metrics.left.k:
            parts.append(f"{rate(metrics.left)} {'diverged' if task.domain is None else 'left the domain or diverged'}")
        yield f"{name}: {'; '.join(parts)}."


def _verdict(verdict: Verdict, metrics: Metrics, dt: float) -> str:
    """A sentence on one constraint and one controller; none if it was never violated."""
    name, measured, required = verdict.constraint, verdict.measured, verdict.requirement
    if not metrics.violations[name].k:
        return ""
    if isinstance(required, Chance) and isinstance(measured, Rate) and verdict.sample is not None:
        text = _kept(verdict)
        allowed = 100 * (1 - required.probability)
        return (
            f"'{name}' {text}: violated in {rate(measured)} at its worst sample ({verdict.sample * dt:.3g} s), allowed "
            f"in {allowed:.3g}\u00a0%"
        )
    if isinstance(required, Budget) and isinstance(measured, Estimate):
        text = _kept(verdict)
        what = "excess" if required.of == "excess" else "violated samples"
        spent = replace(measured, low=max(measured.low, 0.0))  # Student's interval may begin below what can be spent
        return f"budget of '{name}' {text}: {what} per run {interval(spent)}, allowed {required.limit:g} on average"
    kind = "hard" if verdict.counts else "soft"
    worst = metrics.worst_margin[name]
    return f"{kind} '{name}' violated in {rate(metrics.violations[name])}, its largest margin is {number(worst)}"


def _kept(verdict: Verdict) -> str:
    if not verdict.kept:
        return "not kept"
    if exceeds(verdict):
        return "exceeded, which may be chance"
    return "kept in these runs, too few to rule out more" if verdict.reaches_beyond else "kept"


def _regions(comparison: ComparisonData) -> Iterator[str]:
    settled: dict[tuple[int, int], list[str]] = {}
    for name, metrics in comparison.metrics.items():
        settled.setdefault((metrics.settled.k, metrics.settled.n), []).append(name)
    for (k, n), names in settled.items():
        each = " (each)" if len(names) > 1 else ""
        yield f"Sampled: {rate(Rate(k, n))} arrive at the reference and stay there under {joined(names)}{each}."
    if not comparison.is_proof_tried:
        yield "No proof was attempted."
        return
    where = "" if comparison.task.truth is None else " on the true plant"
    for name in comparison.metrics:
        share = comparison.proved.get(name)
        if share is not None and share > 0:
            yield (
                f"Proved: without disturbances, {name} reaches the reference{where} from at least {percent(share)} of "
                "the box of starts."
            )
    none = [name for name in comparison.metrics if comparison.proved.get(name) == 0.0]
    if none:
        yield f"Nothing was proved for {joined(none)} within the time limit; trivium verify gives the reasons."
    without = [name for name in comparison.metrics if comparison.proved.get(name) is None]
    if without:
        yield f"No proof is possible for {joined(without)}: no control law in closed form, or no enclosure of the loop."


def _times(comparison: ComparisonData) -> Iterator[str]:
    dt = comparison.task.dt
    for name, metrics in comparison.metrics.items():
        late = f"{rate(metrics.missed, 'timed steps')} took longer than dt" if metrics.missed.k else "none of the "
        if not metrics.missed.n:
            yield f"{name}: not timed."
            continue
        if not metrics.missed.k:
            late += f"{metrics.missed.n} timed step{'s' if metrics.missed.n != 1 else ''} took longer than dt"
        yield f"{name}: median {duration(metrics.step_p50)}, 99\u00a0% within {duration(metrics.step_p99)}; {late}."
    busy = comparison.workers
    yield (
        f"One sample lasts dt = {duration(dt)}. Times were measured on this machine, with {busy} "
        f"{'process' if busy == 1 else 'processes'} at once."
    )


def _measured(comparison: ComparisonData) -> Iterator[str]:
    task, errors = comparison.task, {name: m.estimation_error for name, m in comparison.metrics.items()}
    assert task.measurement is not None
    taken = joined([str(signal) for signal in task.measurement.signals])
    yield f"The controllers receive {taken}, with the same draws of noise and drop-outs, and not the state."
    units = dict(zip(task.plant.state.names, task.plant.state.units, strict=True))
    for name in comparison.metrics:
        source = f"uses the state estimated by {comparison.estimators.get(name, 'an estimator of its own')}"
        error = joined([f"{state} {number(value)} {units[state]}" for state, value in errors[name].items()] or [""])
        yield (
            f"{name} {source}; root mean square error over the samples of all runs: {error}."
            if errors[name]
            else f"{name} reports no estimate of the state."
        )


def _approximations(comparison: ComparisonData) -> Iterator[str]:
    exact = [name for name, texts in comparison.approximations.items() if texts == ()]
    if exact:
        yield f"{joined(exact)}: nothing; the task is handled exactly."
    for name, texts in comparison.approximations.items():
        if texts is None:
            yield f"{name} does not announce its approximations."
        elif texts:
            yield f"{name}: {'; '.join(texts)}."


def _equal(comparison: ComparisonData) -> Iterator[str]:
    task = comparison.task
    samples = "1 sample" if task.steps == 1 else f"{task.steps} samples"
    drawn = " and the disturbances" if task.measurement is None else ", the disturbances and the noise"
    parameters = " with the parameters of each run" if task.varied else ""
    end = " and the terminal cost at the end" if task.has_terminal_cost else ""
    yield (
        f"The starts{drawn} of {_runs(len(comparison.starts))}, the true plant{parameters}, the limits of its "
        f"actuators, and the cost that is charged: the undiscounted sum over {samples}{end}."
    )
    yield f"No controller knows the disturbances or the parameters of the true plant; {difference(task)}."
    if task.reference.is_constant:
        yield "The reference is constant, so there is no advantage in knowing it in advance."
    for name in comparison.metrics:
        known = comparison.knowledge.get(name)
        text = str(known) if known is not None else "does not state what it minimises, was tuned on or knows in advance"
        yield f"{name}: {text}."


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
