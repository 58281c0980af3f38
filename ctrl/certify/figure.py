"""The figure of a certificate: phase portrait, certified level set, sampled level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ctrl.certify.claims.certificate import Certificate
from ctrl.certify.functions.lyapunov import Lyapunov, QuadraticLyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.laws.law import Law
from systems import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["phase_portrait"]


def phase_portrait(
    task: Task,
    law: Law,
    certificate: Certificate,
    sampled_level: float | None = None,
    states: tuple[str, str] | None = None,
    grid: int = 15,
    steps: int | None = None,
) -> Figure:
    """Trajectories of the undisturbed loop in the plane of two states, the others starting at the reference.

    Solid: the certified level set (dashed grey where the claim is not proved). Dotted: the sampled level. Trajectories
    that end within the task's tolerance of the reference are blue, the others red; a point that refutes the claim is
    marked. Levels are cut through the reference along the plane shown.

    Args:
        states: names of the two states, default: the first two.
        grid: starts per axis.
        steps: samples per trajectory, default: those of the task.
    """
    from matplotlib.figure import Figure  # slow to import, and only needed here

    loop = ClosedLoop(task, law)
    V, plant = certificate.V, task.plant
    names = states or (plant.state.names[0], plant.state.names[1])
    plane = [plant.state.where(name) for name in names]
    low, high = V.bounding_box(max(certificate.level, sampled_level or 0.0))
    if certificate.domain is not None:
        low, high = np.maximum(low, certificate.domain[0]), np.minimum(high, certificate.domain[1])
    margin = 0.35 * (high - low)
    low, high = (low - margin)[plane], (high + margin)[plane]

    first, second = (np.linspace(a, b, grid) for a, b in zip(low, high, strict=True))
    x = np.tile(V.middle, (grid * grid, 1))
    x[:, plane] = np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)
    runs = [x]
    lower, upper = loop.domain
    for _ in range(steps or task.steps):
        inside = ((x >= lower) & (x <= upper)).all(axis=1, keepdims=True)
        x = np.where(inside, loop(x), x)  # a run that leaves the domain stops there
        runs.append(x)
    path = np.stack(runs)[:, :, plane]
    arrived = (np.abs(x - loop.reference) <= task.arrival).all(axis=1)

    figure = Figure(figsize=(6.0, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for mask, colour, label in ((~arrived, "tab:red", "does not arrive"), (arrived, "tab:blue", "arrives")):
        if mask.any():
            axes.plot(path[:, mask, 0], path[:, mask, 1], color=colour, linewidth=0.5, alpha=0.45)
            axes.plot(path[0, mask, 0], path[0, mask, 1], ".", color=colour, markersize=3, label=f"start that {label}")
    centre = V.middle[plane]
    solid = certificate.is_proved
    bounds = None if certificate.domain is None else (certificate.domain[0][plane], certificate.domain[1][plane])
    view = (low, high) if bounds is None else (np.maximum(low, bounds[0]), np.minimum(high, bounds[1]))
    style: dict[str, Any] = {"color": "black" if solid else "grey", "linestyle": "solid" if solid else "dashed"}
    style["linewidth"] = 2.0
    for k, line in enumerate(_outline(V, certificate.level, plane, *view)):
        axes.plot(*line.T, label=f"{certificate.kind}: V <= {certificate.level:.4g}" if k == 0 else None, **style)
    if sampled_level is not None:
        style = {"color": "tab:orange", "linestyle": "dotted", "linewidth": 1.6}
        for k, line in enumerate(_outline(V, sampled_level, plane, *view)):
            axes.plot(*line.T, label=f"sampled: V <= {sampled_level:.4g}" if k == 0 else None, **style)
    if certificate.counterexample is not None:
        axes.plot(*certificate.counterexample[plane], "x", color="black", markersize=8, label="counterexample")
    axes.plot(*centre, "+", color="black", markersize=8)
    axes.set(
        xlim=(low[0], high[0]),
        ylim=(low[1], high[1]),
        xlabel=str(plant.state[plane[0]]),
        ylabel=str(plant.state[plane[1]]),
        title=f"{task.name}: {certificate.law}, undisturbed",
    )
    axes.legend(loc="upper right", fontsize="small")
    return figure


def _outline(V: Lyapunov, level: float, plane: list[int], low: np.ndarray, high: np.ndarray) -> list[np.ndarray]:
    """Lines (k, 2) of V = level in the plane through the centre, inside the view."""
    if isinstance(V, QuadraticLyapunov):
        angle = np.linspace(0.0, 2 * np.pi, 400)
        circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        ring = circle @ np.linalg.inv(np.linalg.cholesky(V.P[np.ix_(plane, plane)]))
        return [np.clip(V.middle[plane] + np.sqrt(level) * ring, low, high)]
    from contourpy import contour_generator  # comes with matplotlib

    first, second = (np.linspace(a, b, 400) for a, b in zip(low, high, strict=True))
    x = np.tile(V.middle, (len(second), len(first), 1))
    x[..., plane] = np.stack(np.meshgrid(first, second), axis=-1)
    return [np.asarray(line) for line in contour_generator(first, second, V(x)).lines(level)]
