"""Which base frequency a harmonic MPC should have: a sweep, and a figure that shows why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ctrl.controller import Controller, NotApplicable, Status
from mpc.harmonic.artificial_reference import Model, check_horizon, model
from mpc.harmonic.artificial_reference_mpc import RecedingHorizon
from systems import Fixed, InvalidValue, Task
from systems.arguments import expect_array, expect_factory, expect_names, expect_seed, expect_whole
from systems.errors import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FrequencySweep", "choose_frequency"]


@dataclass(frozen=True, eq=False)
class FrequencySweep:
    """What each base frequency is good for.

    Args:
        name: of the task. horizon: samples.
        frequencies: (k,), rad per sample, ascending.
        cost: (k,), closed-loop cost of the task, averaged over its starts. failures: (k,), share of samples not solved.
        area: (k,), of a section of the feasible set, NaN where none was asked for.
        amplitude: (k, outputs), the largest admissible harmonic of one input (of those, the one that moves the plant
            furthest in the sense of Q), in half-widths of the outputs; 1 where an output binds.
        outputs: what bounds each column of ``amplitude``.
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
        """Cost (and feasible set) over the frequency, above what limits a harmonic there.

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


def choose_frequency(
    task: Task,
    horizon: int,
    frequencies: Sequence[float] | np.ndarray | None = None,
    controller: Callable[[float], RecedingHorizon] | None = None,
    plane: tuple[str, str] | None = None,
    starts: int = 4,
    seed: int = 0,
) -> FrequencySweep:
    """Runs the nominal linear loop at each frequency, from starts of the task's own law, and takes the frequency with
    the fewest unsolved samples and then the least cost.

    Args:
        task, horizon: as for :class:`mpc.harmonic.harmonic_mpc.HarmonicMPC`.
        frequencies: candidates; where left out, 16 from a quarter radian per horizon to 2.5 rad per sample, and
            4 more around the best of them.
        controller: makes the controller of a frequency, the default one where left out.
        plane: two states; the area of that section of the feasible set is then computed too, for the figure.
        starts: draws beside the mean of the law of initial states. seed: of the draws.

    Raises:
        NotApplicable: no candidate gives a controller.
    """
    from mpc.harmonic.harmonic_mpc import HarmonicMPC

    check_horizon(horizon)
    expect_whole(starts, "starts", least=0)
    expect_seed(seed)
    if controller is not None:
        expect_factory(controller, "frequency", "controller", "a function of the frequency that makes a controller")
    if plane is not None:
        expect_names(plane, "plane")
    if frequencies is not None:
        given = expect_array(frequencies, "frequencies", ("k",))
        if not len(given) or not (given > 0).all():
            raise InvalidValue(f"frequencies = {shown(frequencies)}; expected numbers above 0, in rad per sample")
    make = controller or (lambda frequency: HarmonicMPC(task, horizon, frequency))
    system = model(task)
    state = task.plant.state
    draws = [task.initial.mean(state)]
    if not isinstance(task.initial, Fixed):
        draws += list(task.initial.sample(state, np.random.default_rng(seed), (starts,)))
    grid = (
        np.geomspace(0.25 / horizon, 2.5, 16) if frequencies is None else np.sort(np.asarray(frequencies, dtype=float))
    )
    found = {float(w): _try(make, w, task, system, draws, plane) for w in grid}
    if frequencies is None:
        i = min(range(len(grid)), key=lambda j: found[float(grid[j])][:2])
        around = np.geomspace(grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)], 7)[1:-1]
        found |= {float(w): _try(make, w, task, system, draws, plane) for w in around if float(w) not in found}
    best = min(found, key=lambda w: found[w][:2])
    if np.isinf(found[best][0]):
        raise NotApplicable(f"task '{task.name}': no frequency gives a harmonic MPC; {found[best][3]}")
    tried = np.array(sorted(found))
    results = [found[float(w)] for w in tried]
    amplitudes = np.array([_largest_harmonic(system, w) for w in tried])
    names = [*task.plant.state.names, *task.plant.input.names]
    rows = np.hstack([system.outputs.E, system.outputs.F])
    labels = tuple(
        " ".join(names[i] if v == 1 else f"{v:+.3g} {names[i]}" for i, v in enumerate(row) if v) for row in rows
    )
    failures, cost, area = (np.array([result[i] for result in results]) for i in range(3))
    return FrequencySweep(task.name, horizon, tried, cost, failures, area, amplitudes, labels, best)


def _try(
    make: Callable[[float], RecedingHorizon],
    frequency: float,
    task: Task,
    system: Model,
    starts: list[np.ndarray],
    plane: tuple[str, str] | None,
) -> tuple[float, float, float, str]:
    """Share of unsolved samples, mean cost, area, and why there is none; the share is infinite where there is no
    controller."""
    try:
        loop = make(float(frequency))
    except NotApplicable as reason:
        return np.inf, np.inf, np.nan, str(reason)
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
            # A loop that has run away stays where it is, so that costs remain comparable numbers.
            following = system.A @ x + system.B @ decision.input + system.c
            x = following if np.abs(following).max() < 1e6 else x
    area = np.nan
    if plane is not None:
        area = loop.feasible_set().section(plane).area
    return unsolved / (len(starts) * task.steps), total / len(starts), area, ""


def _largest_harmonic(system: Model, frequency: float) -> np.ndarray:
    """(outputs,): amplitudes, in half-widths, of the largest admissible harmonic made by one input around the middle of
    the bounds; of all inputs the one that moves the state furthest."""
    n = len(system.A)
    out = system.outputs
    width = 0.5 * (out.upper - out.lower)
    width[~np.isfinite(width)] = np.inf
    response = np.linalg.solve(np.exp(1j * frequency) * np.eye(n) - system.A, system.B.astype(complex))
    outputs = np.abs(out.E @ response + out.F) / width[:, None]
    scale = np.maximum(outputs.max(axis=0), 1e-300)
    moved = np.real(np.einsum("ij,ik,kj->j", response.conj(), system.Q, response)) / scale**2
    best = int(np.argmax(moved))
    return np.asarray(outputs[:, best] / scale[best])
