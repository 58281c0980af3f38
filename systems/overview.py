"""A task in words, part by part, for terminals and notebooks."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

import casadi as ca
import numpy as np

from systems.abstract_task import AbstractTask
from systems.carrying_plant import CarryingPlant
from systems.constraints import Box, ChangeLimit, Constraint
from systems.costs import Quadratic
from systems.distributions import Distribution
from systems.forecast import Forecast
from systems.measurement import Measurement
from systems.observations import Observation
from systems.plant import Plant
from systems.requirements import Budget, Chance, Soft
from systems.signals import Signals
from systems.true_plant import difference

__all__ = ["page", "text"]

_WIDTH, _LABELS = 80, 13
_LONGEST = 180  # characters of an expression that is shown
_MOST = 16  # signals of an observation that are shown


def text(task: AbstractTask) -> str:
    """All parts of a task in lines of at most 80 columns."""
    lines = [f"Task '{task.name}'"]
    indent = " " * (_LABELS + 2)
    for label, content in _rows(task):
        wrapped = textwrap.wrap(content, _WIDTH - len(indent), break_on_hyphens=False)
        lines.append(f"  {label:<{_LABELS}}" + f"\n{indent}".join(wrapped))
    return "\n".join(lines)


def page(task: AbstractTask) -> str:
    """The same as an HTML table."""
    cell = 'style="text-align:left;vertical-align:top"'
    rows = "".join(
        f"<tr><th {cell}>{html.escape(label)}</th><td {cell}>{html.escape(content)}</td></tr>"
        for label, content in _rows(task)
    )
    return f"<table><caption>Task '{html.escape(task.name)}'</caption>{rows}</table>"


def _rows(task: AbstractTask) -> Iterator[tuple[str, str]]:
    plant, forecast = task.plant, task.plant.forecast
    seconds = task.steps * task.dt
    yield "run", f"{task.steps} samples of {task.dt:g} s ({task.dynamics.integrator}), {seconds:g} s in all"
    yield "plant", _plant(plant)
    known = () if forecast is None else forecast.states.names
    yield "state", _listed(str(s) for s in plant.state if s.name not in known) or "none"
    if forecast is not None:
        yield "known ahead", _forecast(forecast, task.true_dynamics.plant.forecast or forecast)
    low, high = task.input_bounds
    yield "input", _listed(_between(f"{s}", a, b) for s, a, b in zip(plant.input, low, high, strict=True)) or "none"
    if plant.disturbance:
        yield "disturbance", _disturbance(task)
    yield "cost", _cost(task)
    yield "reference", _reference(task)
    yield "initial", _distribution(task.initial, plant.state, known)
    for constraint in task.constraints:
        yield "constraint", _constraint(constraint, plant)
    if task.domain is not None:
        yield "domain", _bounds(task.domain)
    near = zip(plant.state.names, task.arrival.tolist(), strict=True)
    yield "arrived", "within " + (_listed(f"{n} +-{a:.3g}" for n, a in near if np.isfinite(a)) or "any distance")
    yield "learners", f"discount {task.discount:g}; {_observation(task)}"
    yield "measured", "the state" if task.measurement is None else _measurement(task.measurement)
    yield "true plant", difference(task).removeprefix("true plant = ").removeprefix("true plant: ")


def _plant(plant: Plant) -> str:
    around = []
    while isinstance(plant, CarryingPlant):
        around.append(type(plant).__name__)
        plant = plant.inner
    values = _listed(f"{name} {value:g}" for name, value in plant.parameters.items())
    return plant.name + (f" within {', '.join(around)}" if around else "") + (f": {values}" if values else "")


def _forecast(forecast: Forecast, true: Forecast) -> str:
    predicted = forecast.predicted
    ends = zip(forecast.signals, predicted.min(axis=0), predicted.max(axis=0), strict=True)
    text = _listed(f"{signal} from {low:.4g} to {high:.4g}" for signal, low, high in ends)
    text += f"; {len(predicted)} samples"
    text += "" if true.actual is None else "; the actual values differ from the forecast"
    text += f"; errors decay by {forecast.persistence:g} per sample" if forecast.persistence else ""
    return text + (f"; the next {forecast.preview} values are states" if forecast.preview else "")


def _disturbance(task: AbstractTask) -> str:
    declared, forecast = task.plant.disturbance, task.plant.forecast
    series = () if forecast is None else forecast.disturbances.names
    return _distribution(task.disturbance, declared, series)


def _distribution(distribution: Distribution, declared: Signals, without: Iterable[str] = ()) -> str:
    """Signals that a forecast drives (``without``) are named only if they are drawn."""
    (low, high), mean = distribution.support(declared), distribution.mean(declared)
    deviation = np.sqrt(np.diag(distribution.covariance(declared)))
    parts = []
    for i, signal in enumerate(declared):
        if signal.name in without and deviation[i] == 0:
            continue
        if low[i] == high[i]:
            parts.append(f"{signal.name} {low[i]:g}")
        elif np.isfinite([low[i], high[i]]).all():
            parts.append(f"{signal.name} in [{low[i]:g}, {high[i]:g}]")
        else:
            parts.append(f"{signal.name} {mean[i]:g} with standard deviation {deviation[i]:.4g}")
    drawn = deviation > 0
    kind = "" if not drawn.any() else "uniform: " if np.isfinite([low[drawn], high[drawn]]).all() else "normal: "
    return kind + _listed(parts) if parts else "none"


def _cost(task: AbstractTask) -> str:
    cost, plant = task.cost, task.plant
    if isinstance(cost, Quadratic):
        weights = zip("QRP", cost.matrices(plant), (plant.state, plant.input, plant.state), strict=True)
        return "quadratic: " + "; ".join(text for name, W, of in weights if (text := _weights(name, W, of)))
    x, u = _symbols(plant.state), _symbols(plant.input)
    xr, ur = _symbols(plant.state, "_ref"), _symbols(plant.input, "_ref")
    text = f"at every sample {_expression(task.stage_cost(x, u, xr, ur))}"
    return text + (f"; at the end {_expression(task.terminal_cost(x, xr))}" if task.has_terminal_cost else "")


def _weights(name: str, matrix: np.ndarray, declared: Signals) -> str:
    diagonal = np.diag(matrix)
    if not matrix.any():
        return ""
    if np.array_equal(matrix, np.diag(diagonal)):
        return f"{name} " + _listed(f"{n} {a:g}" for n, a in zip(declared.names, diagonal, strict=True) if a)
    return f"{name} a full matrix over {', '.join(declared.names)}"


def _reference(task: AbstractTask) -> str:
    x, u = task.reference.at(task.plant, 0)
    names = (*task.plant.state.names, *task.plant.input.names)
    forecast = task.plant.forecast
    without = () if forecast is None else forecast.states.names
    values = dict(zip(names, (*x.tolist(), *u.tolist()), strict=True))
    shown = [f"{n} {a:g}" for n, a in values.items() if a and n not in without]
    others = ["the others zero"] if len(shown) < len(names) - len(without) else []
    text = _listed([*shown, *others]) if shown else "all signals zero"
    return text if task.reference.is_constant else f"moves, beginning with {text}"


def _constraint(constraint: Constraint, plant: Plant) -> str:
    if isinstance(constraint, Box):
        text = _bounds(constraint)
    elif isinstance(constraint, ChangeLimit):
        text = _listed(_between(f"change of {name}", *bound) for name, bound in constraint.bounds.items())
    else:
        g = constraint.function(plant)(_symbols(plant.state), _symbols(plant.input))
        text = f"{_expression(g)} <= 0"
    return f"'{constraint.name}', {_requirement(constraint.requirement)}: {text}"


def _requirement(requirement: Any) -> str:
    if isinstance(requirement, Soft):
        return f"soft with a weight of {requirement.weight:g}"
    if isinstance(requirement, Chance):
        return f"with a probability of {requirement.probability:g}"
    if isinstance(requirement, Budget):
        what = "samples" if requirement.of == "steps" else "accumulated excess"
        return f"a budget of {requirement.limit:g} ({what} per {requirement.per} run)".replace("episode run", "run")
    return type(requirement).__name__.lower()


def _observation(task: AbstractTask) -> str:
    if not (isinstance(task.observation, Observation) or task.observes_measurement):
        return "observe the state" + ("" if task.reference.is_constant else " and its reference")
    observed = task.observation_signals
    more = f" and {len(observed) - _MOST} more" if len(observed) > _MOST else ""
    return f"observe {_listed(map(str, observed[:_MOST]))}{more}"


def _measurement(measurement: Measurement) -> str:
    declared, deviation = measurement.signals, np.sqrt(np.diag(measurement.noise.covariance(measurement.signals)))
    sentences = []
    for i, signal in enumerate(declared):
        parts = [str(signal)]
        for value, words in (
            (deviation[i], "noise of standard deviation {:.4g}"),
            (measurement.mean[i], "bias {:.4g}"),
            (measurement.delays[i], "{} samples late"),
            (measurement.periods[i] if measurement.periods[i] > 1 else 0, "every {} samples"),
            (measurement.quanta[i], "rounded to {:g}"),
            (measurement.dropouts[i], "lost with probability {:g}"),
        ):
            parts += [words.format(value)] if value else []
        sentences.append(", ".join(parts))
    return "; ".join(sentences)


def _bounds(box: Box) -> str:
    return _listed(_between(name, low, high) for name, (low, high) in box.bounds.items())


def _between(name: str, low: float, high: float) -> str:
    if np.isfinite([low, high]).all():
        return f"{name} in [{low:g}, {high:g}]"
    if np.isfinite(low):
        return f"{name} >= {low:g}"
    return f"{name} <= {high:g}" if np.isfinite(high) else name


def _expression(expression: ca.SX) -> str:
    text = re.sub(r"(?<=\))([+-])(?=\()", r" \1 ", str(expression))  # where a line may end
    return text if len(text) <= _LONGEST else f"an expression of {ca.n_nodes(expression)} nodes"


def _symbols(declared: Signals, suffix: str = "") -> ca.SX:
    return ca.vertcat(*(ca.SX.sym(name + suffix) for name in declared.names)) if declared else ca.SX(0, 1)


def _listed(entries: Iterable[str]) -> str:
    return ", ".join(entries)
