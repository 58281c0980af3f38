"""From where do a regulator, an explicit MPC and a learned policy reach their goal: what is proved, what is sampled?

    python -m examples.regions_of_attraction
    python -m examples.regions_of_attraction --out regions.pdf --seed 2 --draws 50000

Two plants in the plane, three controllers each, one kind of certificate: V falls along every motion from the dark set,
shown by branch and bound with outward rounding, so every such motion reaches the loop's equilibrium. The light set is
what simulation says; its area comes with a Wilson interval. A learned policy rests beside the reference, not at it; the
claim is then about the point where it rests, and the table says how far that is from the reference.

The policies are trained once by DSAC-T, two layers of 32, and kept in the cache of `trivium`. A policy whose loop
circles its rest point for ever, as some seeds on the double integrator do, is attracted to nothing: then there is
nothing to prove, and the panel says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import casadi as ca
import numpy as np
import tyro

from ctrl.certify import (
    Certificate,
    ClosedLoop,
    RestPoint,
    SampledRegion,
    SearchLimits,
    cost_to_go,
    largest_level,
    rest_point,
    sampled_region,
)
from ctrl.certify.candidates.fit import fitted, sampled_basin
from ctrl.certify.candidates.sampling import arrives
from ctrl.controller import NotApplicable
from ctrl.laws import Law
from ctrl.regulator import LQR
from examples.certify_policy import learned
from mpc import ExplicitMPC
from systems import Box, InvalidValue, Task
from systems.library import double_integrator, pendulum

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHARES = (0.95, 0.8, 0.6)
"""Of the sampled basin, that the fitted function is asked to hold: what its degree can follow is not known before."""

STEPS = 600
"""After so many samples a run counts as not arriving."""


@dataclass(frozen=True)
class Options:
    """The regions of attraction of LQR, explicit MPC and a learned policy on two plants, proved and sampled."""

    out: Path = Path("regions_of_attraction.png")
    """Where the figure goes; a .pdf and a .png are written."""
    seed: int = 1
    """Of the learners and of the draws."""
    draws: int = 20_000
    """Starts per controller for the sampled area."""
    boxes: int = 200_000
    """To examine at most in each search for the highest level that can be proved."""
    degree: int = 6
    """Of the polynomial that is fitted beside the ellipse."""
    updates: int = 20_000
    """Of the learners."""
    policies: Path = Path("runs/policies")
    """Where policies are kept, so that each is trained once."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One controller on one plant. The certificate is None where the loop is attracted to nothing, for ``reason``."""

    name: str
    loop: ClosedLoop
    rest: RestPoint | None
    sampled: SampledRegion | None
    certificate: Certificate | None
    seconds: float
    reason: str = ""


def laws(task: Task, options: Options) -> Iterator[tuple[str, Law]]:
    """The three controllers in closed form."""
    yield "LQR", LQR(task).law
    yield "explicit MPC", ExplicitMPC(task, horizon=10).law
    yield "learned policy", learned(task, (32, 32), options.seed, options.updates, options.policies)


def examine(name: str, task: Task, law: Law, options: Options, features: ca.Function | None = None) -> Panel:
    """Where the loop rests, what it attracts by simulation, and the largest set that is proved."""
    began, loop = perf_counter(), ClosedLoop(task, law)
    lower, upper = loop.domain
    try:
        rest = rest_point(loop)
        ellipse = cost_to_go(loop, rest)
    except NotApplicable as reason:
        return Panel(name, loop, None, None, None, perf_counter() - began, str(reason))
    sampled = sampled_region(loop, rest.box.mid, lower, upper, options.draws, STEPS, options.seed)
    budget = SearchLimits(options.boxes, seconds=600.0)
    best = largest_level(task, law, ellipse, resolution=0.02, budget=budget, equilibrium="own")
    print(f"    ellipse: {best.kind}, area {best.volume:.4g}", flush=True)
    basin = sampled_basin(loop, lower, upper, centre=rest.box.mid)
    for share in SHARES:
        try:
            V = fitted(loop, options.degree, basin, share, margin=1e-3, rounds=8, features=features)
        except InvalidValue:
            continue
        found = largest_level(task, law, V, resolution=0.02, budget=budget, equilibrium="own")
        print(f"    fitted to {share:.0%} of the basin: {found.kind}, area {found.volume:.4g}", flush=True)
        if found.is_proved and not (best.is_proved and best.volume >= found.volume):
            best = found
    return Panel(name, loop, rest, sampled, best, perf_counter() - began)


def draw(panel: Panel, axes: Axes, colour: str, grid: int) -> None:
    """Dark: proved. Light: sampled. Grey lines: the closed loop's motion. Cross: the reference; dot: where it rests."""
    loop, plant = panel.loop, panel.loop.task.plant
    lower, upper = loop.domain
    first, second = (np.linspace(a, b, grid) for a, b in zip(lower, upper, strict=True))
    states = np.stack(np.meshgrid(first, second), axis=-1)
    if panel.rest is not None:
        flat = arrives(loop, states.reshape(-1, 2), panel.rest.box.mid, lower, upper, STEPS)
        axes.contourf(first, second, flat.reshape(grid, grid), levels=[0.5, 1.5], colors=[colour], alpha=0.22)
    motion = (loop(states) - states) / loop.task.dt
    thin = {"color": "0.45", "linewidth": 0.35, "arrowsize": 0.45, "density": 0.75, "zorder": 1.5}
    axes.streamplot(first, second, motion[..., 0], motion[..., 1], **thin)
    if panel.certificate is not None and panel.certificate.is_proved:
        certificate = panel.certificate
        fine = [np.linspace(a, b, 4 * grid) for a, b in zip(lower, upper, strict=True)]
        V = certificate.V(np.stack(np.meshgrid(*fine), axis=-1))
        axes.contourf(*fine, V, levels=[-np.inf, certificate.level], colors=[colour], alpha=0.55)
        axes.contour(*fine, V, levels=[certificate.level], colors=[colour], linewidths=1.1)
    low, high = np.maximum(wanted(loop.task)[0], 2 * lower), np.minimum(wanted(loop.task)[1], 2 * upper)
    corners = np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]], [low[0], low[1]]])
    axes.plot(*corners.T, color="black", linewidth=0.7, linestyle=(0, (4, 3)), zorder=2)
    axes.plot(*loop.reference, "+", color="black", markersize=7, markeredgewidth=0.9, zorder=3)
    if panel.rest is not None and not panel.rest.is_reference:
        axes.plot(*panel.rest.box.mid, "o", color="white", markeredgecolor="black", markersize=2.8, zorder=3)
    axes.set(xlim=(lower[0], upper[0]), ylim=(lower[1], upper[1]), xlabel=str(plant.state[0]))


def caption(panel: Panel) -> str:
    """What a panel says under its title."""
    if panel.certificate is None or panel.sampled is None:
        return "attracted to nothing: no proof"
    area = panel.sampled.volume
    if not panel.certificate.is_proved:
        return f"nothing proved of {area:.3g}"
    return f"proved {panel.certificate.volume:.3g} of {area:.3g} ({panel.certificate.volume / area:.0%})"


def wanted(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """The box in which the task's constraints want the states, lower and upper (n,)."""
    n = len(task.plant.state)
    bounds = [c.interval(task.plant.state) for c in task.constraints if isinstance(c, Box)]
    lower = np.max([np.full(n, -np.inf), *(low for low, _ in bounds)], axis=0)
    return lower, np.min([np.full(n, np.inf), *(high for _, high in bounds)], axis=0)


def figure(rows: list[list[Panel]], paths: list[Path], resolution: int = 201) -> None:
    """One row per plant, one column per controller; so many points a side for the sampled sets."""
    import matplotlib.style
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    from ctrl.comparison.figure import STYLE

    with matplotlib.style.context(STYLE):
        colours = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
        page = Figure(figsize=(7.0, 2.1 * len(rows) + 0.4), layout="constrained")
        places = page.subplots(len(rows), len(rows[0]), squeeze=False, sharey="row")
        for first, (panels, line) in enumerate(zip(rows, places, strict=True)):
            for panel, axes, colour in zip(panels, line, colours, strict=False):
                draw(panel, axes, colour, resolution)
                if first == 0:
                    axes.set_title(panel.name, color=colour, pad=14)
                axes.text(0.5, 1.02, caption(panel), transform=axes.transAxes, ha="center", va="bottom", fontsize=7)
            task = panels[0].loop.task
            line[0].set_ylabel(f"{task.name.replace('-', ' ')}\n{task.plant.state[1]}")
        dark, light = ({"facecolor": "0.3", "alpha": alpha, "linewidth": 0} for alpha in (0.6, 0.2))
        mark = {"linestyle": "none", "color": "black"}
        rest = {"linestyle": "none", "color": "white", "markeredgecolor": "black"}
        handles = [
            Patch(label="proved", **dark),
            Patch(label="sampled", **light),
            Line2D([], [], color="0.45", linewidth=0.6, label="motion"),
            Line2D([], [], marker="+", label="reference", **mark),
            Line2D([], [], marker="o", markersize=4, label="where the policy rests", **rest),
            Line2D([], [], color="black", linewidth=0.7, linestyle=(0, (4, 3)), label="constraints"),
        ]
        page.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        for path in paths:
            page.savefig(path)
            print(f"saved {path}")


def table(rows: list[list[Panel]]) -> None:
    """The numbers behind the figure."""
    print(
        f"{'plant':<18}{'controller':<16}{'proved':>9}{'sampled (95 %)':>26}{'share':>7}{'off by':>10}{'proof s':>9}"
        f"{'boxes':>9}{'in all s':>9}"
    )
    for panel in (panel for panels in rows for panel in panels):
        c, s = panel.certificate, panel.sampled
        start = f"{panel.loop.task.name:<18}{panel.name:<16}"
        if c is None or s is None:
            print(f"{start}{panel.reason}")
            continue
        low, high = s.interval
        area = c.volume if c.is_proved else 0.0
        print(
            f"{start}{area:>9.4g}{f'{s.volume:.4g} ({low:.4g} to {high:.4g})':>26}{area / max(s.volume, 1e-300):>7.0%}"
            f"{c.offset.max():>10.2g}{c.seconds:>9.2f}{c.boxes:>9,}{panel.seconds:>9.1f}"
        )


def main(options: Options) -> None:
    from examples.certify_network import energies

    rows = []
    for task, features in ((double_integrator(), None), (pendulum(), energies())):
        print(task.name)
        panels = []
        for name, law in laws(task, options):
            print(f"  {name}", flush=True)
            panels.append(examine(name, task, law, options, features))
        rows.append(panels)
    figure(rows, [options.out.with_suffix(suffix) for suffix in (".pdf", ".png")])
    table(rows)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
