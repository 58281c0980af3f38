"""How a controller handles each part of a task: exactly, by an approximation that it announces, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from ctrl.controller import NotApplicable
from systems import Budget, Chance, Hard, Soft, Task
from systems.reading import Part, SteadyState

__all__ = [
    "ESTIMATED",
    "EXACT",
    "NO_FORECAST",
    "Announced",
    "Answer",
    "Answers",
    "Exact",
    "Refused",
    "announced",
    "described",
    "quadratic_end",
]


@final
@dataclass(frozen=True)
class Exact:
    """The part is handled exactly as it is written."""


@final
@dataclass(frozen=True)
class Announced:
    """The part is approximated, or ignored, and ``text`` says how. ``{names}`` stands for its names in the task."""

    text: str


@final
@dataclass(frozen=True)
class Refused:
    """A task with this part is refused; ``text`` says why and how to fix it. ``{names}`` as in :class:`Announced`."""

    text: str


Answer = Exact | Announced | Refused
EXACT = Exact()
ESTIMATED = Announced("uses the estimate in place of the state")
"""The answer of state-feedback controllers to a measurement: certainty equivalence, with an estimator."""
NO_FORECAST = Refused(
    "the signals {names} are known ahead, as series over time, which this controller does not take; use LinearMPC, "
    "NonlinearMPC or a learner"
)
"""The answer of controllers whose model is the same at every sample."""


@final
@dataclass(frozen=True)
class Answers:
    """The answer of one kind of controller to every :class:`~systems.reading.Part` of a task.

    Args:
        by_part: an answer, or a function of the task that returns one.
    """

    by_part: Mapping[Part, Answer | Callable[[Task], Answer]]

    def read(self, task: Task) -> tuple[str, ...]:
        """The approximations of this task, in words, without repetition.

        Raises:
            NotApplicable: a part that is refused.
        """
        texts: dict[str, None] = {}
        for part in Part:
            if part not in task.reading.parts:
                continue
            given = self.by_part[part]
            answer = given(task) if callable(given) else given
            if isinstance(answer, Exact):
                continue
            text = answer.text.format(names=_names(task, part))
            if isinstance(answer, Refused):
                raise NotApplicable(f"task '{task.name}': {text}")
            texts[text] = None
        return tuple(texts)


def quadratic_end(task: Task) -> Answer:
    """The answer of quadratic programs to a terminal cost, which they must optimise exactly as it is charged."""
    if task.reading.ends_quadratically:
        return EXACT
    return Refused(
        "its terminal cost is not quadratic in the state, and a quadratic program would charge another one; use the "
        "nonlinear MPC"
    )


def announced(controller: object) -> tuple[str, ...] | None:
    """The approximations that a controller announces, in words; None if it announces nothing."""
    texts = getattr(controller, "approximations", None)
    return None if texts is None else tuple(map(str, texts))


def described(name: str, approximations: tuple[str, ...]) -> str:
    """A controller's ``repr``: what it is, and what it approximates."""
    return f"<{name}; approximates: {'; '.join(approximations)}>" if approximations else f"<{name}>"


def _names(task: Task, part: Part) -> str:
    """What of a task a part is, by name."""
    reading = task.reading
    kinds = {Part.HARD: Hard, Part.SOFT: Soft, Part.CHANCE: Chance}
    if part in kinds:
        named = (c for c in task.constraints if isinstance(c.requirement, kinds[part]))
        return _quoted(c.name for c in named if c not in reading.change_limits)
    if part in (Part.BUDGET, Part.EXCESS_BUDGET):
        kind = "steps" if part is Part.BUDGET else "excess"
        return _quoted(
            c.name for c in task.constraints if isinstance(c.requirement, Budget) and c.requirement.of == kind
        )
    if part in (Part.NONLINEAR_PLANT, Part.VARYING_LINEARISATION):
        return task.plant.name
    if part is Part.KINKED_PLANT:
        return ", ".join(reading.plant_kinks)
    if part is Part.SINGULAR_PLANT:
        return ", ".join(reading.singular)
    if part is Part.KINKED_COST:
        return ", ".join(reading.cost_kinks)
    if part is Part.REFERENCE_OUTSIDE:
        return _quoted(reading.violated)
    if part is Part.NONLINEAR_CONSTRAINT:
        return _quoted(reading.not_affine)
    if part is Part.KINKED_CONSTRAINT:
        return _quoted(reading.kinked_constraints)
    if part is Part.COST_ELSEWHERE:
        return steady_state_in_words(task)
    if part is Part.BIASED_DISTURBANCE:
        mean = task.disturbance.mean(task.plant.disturbance)
        return ", ".join(
            f"{signal.name} {value:.4g} {signal.unit}"
            for signal, value in zip(task.plant.disturbance, mean, strict=True)
            if value
        )
    if part is Part.CHANGE_LIMIT:
        return _quoted(c.name for c in reading.change_limits)
    if part is Part.INTEGER:
        return ", ".join(s.name for s in task.plant.input if s.integer)
    if part is Part.FORECAST:
        assert task.plant.forecast is not None
        return ", ".join(task.plant.forecast.signals.names)
    if part is Part.PERIODIC:
        return ", ".join(s.name for s in task.plant.state if np.isfinite(s.period) or s.quaternion)
    return ""


def steady_state_in_words(task: Task, constrained: bool = False) -> str:
    """The optimal steady state of a task in words, such as ``level = 3, flow = 0``; says so if there is none."""
    reading = task.reading
    return in_words(task, reading.steady_state if constrained else reading.free_steady_state)


def in_words(task: Task, steady: SteadyState | None) -> str:
    """A steady state of a task in words, as :func:`steady_state_in_words`."""
    if steady is None:
        return "no steady state"
    values = np.concatenate([steady.x, steady.u])
    names = (*task.plant.state.names, *task.plant.input.names)
    shown = ", ".join(f"{name} = {value + 0.0:.4g}" for name, value in zip(names, values, strict=True))
    return f"the optimal steady state {shown}"


def _quoted(names: object) -> str:
    return ", ".join(f"'{name}'" for name in names)  # type: ignore[attr-defined]
