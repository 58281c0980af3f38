"""Closed loops of harmonic MPC over a range of base frequencies, and a figure of the bounds that limit a harmonic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ctrl.controller import Controller, NotApplicable, Status
from mpc.harmonic.artificial_reference import TrackingModel, tracking_model
from mpc.harmonic.artificial_reference_mpc import ArtificialReferenceMPC
from systems import Fixed, InvalidValue, Task
from systems.errors import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FrequencySweep", "sweep"]


@dataclass(frozen=True, eq=False)
class FrequencySweep:
    """Closed-loop cost, failures and admissible amplitude by base frequency.

    Args:
        name: of the task.
        horizon: samples.
        frequencies: (k,), rad per sample, ascending.
        cost: (k,), closed-loop cost of the task, averaged over its starts.
        failures: (k,), share of samples not solved.
        area: (k,), of a section of the feasible set, NaN where none was requested.
        amplitude: (k, outputs), the largest admissible harmonic of one input (of those, the one that moves the plant
            furthest in the sense of Q), in half-widths of the outputs; 1 where an output binds.
        outputs: names of the outputs, one for each column of ``amplitude``.
        best: the frequency chosen.
    """

    name: str
    horizon: int
    frequencies: np.ndarray
    cost: np.ndarray
    failures: np.ndarray
    area: np.ndarray
    amplitude: np.ndarray
    outputs: tuple[str, ...]
    best: float

    def plot(self) -> Figure:
        """Plots cost (and feasible set) over the frequency, and below them the bounds that limit a harmonic.

        At low frequencies the artificial harmonic is nearly an equilibrium, and its state binds; at high ones the input
        binds while the plant hardly moves. A good frequency lies where the binding output changes.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.0, 5.5), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        solved = self.failures == 0
        above.plot(self.frequencies[solved], self.cost[solved], "o-", label="closed-loop cost")
        if not solved.all():
            above.plot(
                self.frequencies[~solved], self.cost[~solved], "x", color="tab:red", label="some samples infeasible"
            )
        above.set_ylabel("cost")
        handles = above.get_legend_handles_labels()
        if np.isfinite(self.area).any():
            right = above.twinx()
            right.plot(self.frequencies, self.area, "s--", color="tab:green", label="area of the feasible set")
            right.set_ylabel("area")
            handles = tuple(a + b for a, b in zip(handles, right.get_legend_handles_labels(), strict=True))
        above.legend(*handles)
        above.set_title(f"{self.name}, horizon {self.horizon}: best at {self.best:.4g} rad per sample")
        for column, output in zip(self.amplitude.T, self.outputs, strict=True):
            below.plot(self.frequencies, column, label=output)
        below.set_ylabel("largest harmonic [half-widths]")
        below.set_xlabel("frequency [rad per sample]")
        below.set_xscale("log")
        below.legend()
        for axes in (above, below):
            axes.axvline(self.best, color="black", linewidth=0.8)
        return figure


def sweep(
    task: Task,
    horizon: int,
    controller: Callable[[float], ArtificialReferenceMPC],
    frequencies: np.ndarray | None = None,
    plane: tuple[str, str] | None = None,
    starts: int = 4,
    seed: int = 0,
) -> FrequencySweep:
    """Runs the nominal linear loop at each frequency, from initial states drawn from the task's distribution, and
    returns the frequency with the fewest unsolved samples, then the lowest cost.

    Args:
        task: what is controlled.
        horizon: number of predicted samples.
        controller: constructs the controller for a frequency.
        frequencies: (k,), candidates; default: 16 from a quarter radian per horizon to 2.5 rad per sample, and 4 more
            around the best of them.
        plane: two states; the area of that section of the feasible set is then computed too, for the figure.
        starts: number of draws in addition to the mean of the distribution of initial states.
        seed: of the draws.

    Raises:
        NotApplicable: no candidate gives a controller.
    """
    system = tracking_model(task)
    state = task.plant.state
    draws = [task.initial.mean(state)]
    if not isinstance(task.initial, Fixed):
        draws += list(task.initial.sample(state, np.random.default_rng(seed), (starts,)))
    grid = np.geomspace(0.25 / horizon, 2.5, 16) if frequencies is None else np.sort(frequencies)
    runs = {float(w): _closed_loop(controller, w, task, system, draws, plane) for w in grid}
    if frequencies is None:
        i = min(range(len(grid)), key=lambda j: runs[float(grid[j])][:2])
        around = np.geomspace(grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)], 7)[1:-1]
        new = [float(w) for w in around if float(w) not in runs]
        runs |= {w: _closed_loop(controller, w, task, system, draws, plane) for w in new}
    best = min(runs, key=lambda w: runs[w][:2])
    if np.isinf(runs[best].failures):
        raise NotApplicable(f"task '{task.name}': no frequency gives a harmonic MPC; {runs[best].reason}")
    tried = np.array(sorted(runs))
    results = [runs[float(w)] for w in tried]
    amplitudes = np.array([_largest_harmonic(system, w) for w in tried])
    names = [*task.plant.state.names, *task.plant.input.names]
    rows = np.hstack([system.outputs.E, system.outputs.F])
    labels = tuple(
        " ".join(names[i] if v == 1 else f"{v:+.3g} {names[i]}" for i, v in enumerate(row) if v) for row in rows
    )
    return FrequencySweep(
        task.name,
        horizon,
        tried,
        np.array([run.cost for run in results]),
        np.array([run.failures for run in results]),
        np.array([run.area for run in results]),
        amplitudes,
        labels,
        best,
    )


class _ClosedLoop(NamedTuple):
    """Closed loops at one frequency: share of unsolved samples (infinite where there is no controller), mean cost, area
    of the section of the feasible set, and why there is no controller."""

    failures: float
    cost: float
    area: float
    reason: str


def _closed_loop(
    make: Callable[[float], ArtificialReferenceMPC],
    frequency: float,
    task: Task,
    system: TrackingModel,
    starts: list[np.ndarray],
    plane: tuple[str, str] | None,
) -> _ClosedLoop:
    """Runs the linear model that the predictions rest on, and not the plant of the task: what is compared are the
    frequencies, so the loop must not end where the plant would leave its domain."""
    try:
        loop = make(float(frequency))
    except NotApplicable as reason:
        return _ClosedLoop(np.inf, np.inf, np.nan, str(reason))
    if not isinstance(loop, Controller):
        raise InvalidValue(f"controller returned {shown(loop)}; expected a controller with reset() and step(x, k)")
    reference = task.reference.at(task.plant, np.arange(task.steps))
    total, unsolved = 0.0, 0
    for start in starts:
        loop.reset()
        x = start
        for k in range(task.steps):
            decision = loop.step(x, k)
            unsolved += decision.status is not Status.SOLVED
            dx, du = x - reference[0][k], decision.input - reference[1][k]
            total += dx @ system.Q @ dx + du @ system.R @ du
            total += 0.0 if system.S is None else 2.0 * dx @ system.S @ du
            # A loop that has run away stays where it is, so that costs remain comparable numbers.
            following = system.A @ x + system.B @ decision.input + system.c
            x = following if np.abs(following).max() < 1e6 else x
    area = np.nan
    if plane is not None:
        area = loop.feasible_set().section(plane).area
    return _ClosedLoop(unsolved / (len(starts) * task.steps), total / len(starts), area, "")


def _largest_harmonic(system: TrackingModel, frequency: float) -> np.ndarray:
    """(outputs,): amplitudes, in half-widths, of the largest admissible harmonic made by one input around the middle of
    the bounds; of all inputs the one that moves the state furthest."""
    n = len(system.A)
    out = system.outputs
    width = 0.5 * (out.upper - out.lower)
    width[~np.isfinite(width)] = np.inf
    response = np.linalg.solve(np.exp(1j * frequency) * np.eye(n) - system.A, system.B.astype(complex))
    outputs = np.abs(out.E @ response + out.F) / width[:, None]
    scale = np.maximum(outputs.max(axis=0), 1e-300)
    response_size = np.real(np.einsum("ij,ik,kj->j", response.conj(), system.Q, response)) / scale**2
    best = int(np.argmax(response_size))
    return np.asarray(outputs[:, best] / scale[best])
