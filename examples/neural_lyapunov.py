"""Lyapunov functions and controllers that are networks, trained here, and what can be proved with them.

    python -m examples.neural_lyapunov [--out figure.png]

Three closed loops: the reversed van der Pol oscillator, whose true region of attraction is what its limit cycle
encloses, and two benchmarks of neural control, a pendulum whose torque barely holds it and a car that follows a circle
(Yang, Dai, Shi, Hsieh, Tedrake & Zhang 2024). For the two a controller network is trained along with the Lyapunov
function. All sets are proved by branch and bound with outward rounding; beside each stands the largest ellipse that a
linear-quadratic regulator, its weights tuned, proves in the same box.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import matplotlib.style
import numpy as np
import tyro
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ctrl.certify import Certificate, ClosedLoop, Lyapunov, SearchLimits, certify, largest_level, riccati, sampled_limit
from ctrl.certify.semidefinite.squares import lyapunov_equation
from ctrl.comparison.figure import STYLE
from ctrl.laws import Law
from ctrl.regulator import LQR
from safe_rl.lyapunov import LyapunovSettings, LyapunovTraining, train_lyapunov
from systems import Quadratic, Task
from systems.library import path_tracking, pendulum, van_der_pol_reversed

_LEVELS = (0.999, 0.998, 0.995, 0.99, 0.98, 0.95, 0.9)  # tried in turn, as shares of the sampled limit


@dataclass(frozen=True)
class Case:
    """A closed loop in question.

    Args:
        title: for the figure. make: the task. weight: of the input in the tuned regulator. plant_alone: there is no
            input, and time is continuous. settings: of the training.
    """

    title: str
    make: Callable[[], Task]
    weight: float = 1.0
    plant_alone: bool = False
    settings: LyapunovSettings = dataclasses.field(default_factory=LyapunovSettings)


CASES = {
    "van der Pol": Case(
        "Reversed van der Pol oscillator",
        van_der_pol_reversed,
        plant_alone=True,
        settings=LyapunovSettings(rate=5e-3, size=0.1),
    ),
    "pendulum": Case("Pendulum, torque at most 0.75 N m", pendulum, weight=100.0, settings=LyapunovSettings(size=0.0)),
    "path tracking": Case("Car on a circle", path_tracking, weight=10.0),
}


def proved(case: Case, seed: int = 0, budget: SearchLimits | None = None) -> tuple[LyapunovTraining, Certificate]:
    """Trains, and proves the highest of a few levels just below the sampled limit."""
    task = case.make()
    law = LQR(task).law if case.plant_alone else None
    found = train_lyapunov(task, law, continuous=case.plant_alone, seed=seed, settings=case.settings)
    limit = sampled_limit(ClosedLoop(task, found.law, case.plant_alone), found.V).level
    budget = budget or SearchLimits(5_000_000, 120.0)
    for share in _LEVELS:
        certificate = certify(task, found.law, found.V, share * limit, budget=budget, continuous=case.plant_alone)
        if certificate.is_proved:
            break
    return found, certificate


def ellipse(case: Case) -> tuple[Law, Certificate]:
    """The classical answer: a regulator and the largest level of its quadratic form that can be proved."""
    task = case.make()
    if case.plant_alone:
        law: Law = LQR(task).law
        V: Lyapunov = lyapunov_equation(ClosedLoop(task, law, continuous=True))
    else:
        tuned = dataclasses.replace(task, cost=Quadratic(np.eye(2), case.weight * np.eye(1)))
        law, V = LQR(tuned).law, riccati(tuned)
    return law, largest_level(task, law, V, budget=SearchLimits(seconds=60.0), continuous=case.plant_alone)


def draw(axes: Any, case: Case, found: LyapunovTraining, certificate: Certificate, classical: Certificate) -> None:
    """Level sets of V where it is proved to fall, motions, and the ellipse."""
    task = case.make()
    lower, upper = task.domain_bounds
    first, second = (np.linspace(a, b, 500) for a, b in zip(lower, upper, strict=True))
    states = np.stack(np.meshgrid(first, second), axis=-1)
    V = certificate.V(states) / certificate.level
    axes.contourf(first, second, V, levels=np.linspace(0, 1, 9), cmap="Blues_r", alpha=0.75)
    axes.contour(first, second, V, levels=[1.0], colors="#08306b", linewidths=1.6)
    axes.contour(
        first,
        second,
        classical.V(states) / classical.level,
        levels=[1.0],
        colors="#d55e00",
        linewidths=1.4,
        linestyles="dashed",
    )
    loop = ClosedLoop(task, found.law, case.plant_alone)
    starts = np.stack(np.meshgrid(*(np.linspace(a, b, 15) for a, b in zip(lower, upper, strict=True))), axis=-1)
    x = starts.reshape(-1, 2)
    runs, arrives = _motions(loop, x, lower, upper)
    for kept, colour in ((arrives, "0.25"), (~arrives, "#b2182b")):
        axes.plot(runs[:, kept, 0], runs[:, kept, 1], color=colour, linewidth=0.4, alpha=0.55)
        axes.plot(*x[kept].T, ".", color=colour, markersize=2.5)
    axes.plot(*certificate.V.middle, "+", color="black", markersize=7)
    whole = float(np.prod(upper - lower))
    axes.set(
        xlim=(lower[0], upper[0]),
        ylim=(lower[1], upper[1]),
        xlabel=str(task.plant.state[0]),
        ylabel=str(task.plant.state[1]),
    )
    proof = (
        f"proved: {certificate.volume:.4g} of {whole:.4g} in {certificate.cpu:.1f} s; ellipse: {classical.volume:.3g}"
    )
    axes.set_title(f"{case.title}\n{proof}", fontsize=8)


def explain(figure: Figure) -> None:
    """One legend for all."""
    styles: dict[str, dict[str, Any]] = {
        "V, a network, is proved to fall within": {"color": "#08306b", "linewidth": 1.6},
        "largest ellipse proved for the regulator": {"color": "#d55e00", "linestyle": "dashed", "linewidth": 1.4},
        "motions that arrive": {"color": "0.25", "linewidth": 0.6, "marker": ".", "markersize": 3},
        "motions that leave the box": {"color": "#b2182b", "linewidth": 0.6, "marker": ".", "markersize": 3},
    }
    handles = [Line2D([], [], label=label, **style) for label, style in styles.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)


def _motions(loop: ClosedLoop, x: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs (k, b, n), stopped where they leave the box, and which of them come near the reference."""
    runs = [x]
    for _ in range(1200):
        inside = ((x >= lower) & (x <= upper)).all(axis=1, keepdims=True)
        x = np.where(inside, x + 0.01 * loop(x) if loop.continuous else loop(x), x)
        runs.append(x)
    arrives = (np.abs(x - loop.reference) < 0.02 * (upper - lower)).all(axis=1)
    return np.clip(np.stack(runs), lower, upper), arrives


def main(out: Path = Path("neural_lyapunov.png")) -> None:
    """Trains and proves on three closed loops, about four minutes on one core, and draws them.

    Args:
        out: where the figure goes.
    """
    matplotlib.style.use(STYLE)
    figure, axes = plt.subplots(1, len(CASES), figsize=(11.5, 4.2), layout="constrained")
    print(f"{'':<15}{'networks':>10}{'ellipse':>10}{'box':>8}{'training':>11}{'proof':>9}{'boxes':>9}")
    for axis, (name, case) in zip(axes, CASES.items(), strict=True):
        found, certificate = proved(case)
        _, classical = ellipse(case)
        lower, upper = case.make().domain_bounds
        areas = f"{certificate.volume:>10.4g}{classical.volume:>10.4g}{np.prod(upper - lower):>8.4g}"
        print(f"{name:<15}{areas}{found.seconds:>9.1f} s{certificate.cpu:>7.1f} s{certificate.boxes:>9,}", flush=True)
        if not certificate.is_proved:
            print(certificate)
        draw(axis, case, found, certificate, classical)
    explain(figure)
    figure.savefig(out, dpi=200)
    print(out)


if __name__ == "__main__":
    tyro.cli(main)
