"""How much of a region of attraction can be proved? The reversed van der Pol oscillator, whose true region is known.

An ellipse from the Lyapunov equation, then polynomials of degree 4 and 6 by sums of squares; every set shown is proved
by branch and bound. The true region is what the limit cycle encloses.

Run: python examples/van_der_pol_region.py [figure.png]
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from time import perf_counter

import matplotlib.pyplot as plt
import matplotlib.style
import numpy as np
from scipy.integrate import solve_ivp

from ctrl import LQR
from ctrl.certify import Certificate, ClosedLoop, largest_level, sos_region
from ctrl.certify.semidefinite.squares import lyapunov_equation
from ctrl.comparison.figure import STYLE
from systems import Box
from systems.library.van_der_pol import ReversedVanDerPol, VanDerPol, van_der_pol_reversed

CASES = {1.0: (2.5, 3.5), 3.0: (2.5, 6.0)}  # mu, and the box in which the model is meant to hold
SHADES = ("#c6dbef", "#6baed6", "#2171b5")  # one hue, darker where less is proved: the sets lie in each other


def limit_cycle(mu: float) -> np.ndarray:
    """One turn (k, 2) of the cycle, on which the oscillator ends in forward time."""
    f = VanDerPol(mu).casadi()

    def flow(t: float, x: np.ndarray) -> np.ndarray:
        return np.array(f(x, 0, 0, 0))[:, 0]

    settled = solve_ivp(flow, (0, 60), [1.0, 0.0], rtol=1e-8, atol=1e-10).y[:, -1]
    run = solve_ivp(flow, (0, 12), settled, rtol=1e-8, atol=1e-10, max_step=0.002).y.T
    angle = np.unwrap(np.arctan2(run[:, 1], run[:, 0]))
    return run[np.abs(angle - angle[0]) <= 2 * np.pi]


def area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return float(0.5 * abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def proved(mu: float) -> dict[str, Certificate]:
    """The three certificates, from the smallest set to the largest."""
    half = dict(zip(("x1", "x2"), CASES[mu], strict=True))
    domain = Box("model", {name: (-h, h) for name, h in half.items()})
    task = dataclasses.replace(van_der_pol_reversed(), plant=ReversedVanDerPol(mu), domain=domain)
    law = LQR(task).law  # nothing to decide: the plant has no input
    ellipse = lyapunov_equation(ClosedLoop(task, law, continuous=True))
    found = {"ellipse": largest_level(task, law, ellipse, continuous=True)}
    for degree in (4, 6):
        found[f"degree {degree}"] = sos_region(task, law, degree)
    return found


def draw(axes: plt.Axes, mu: float, certificates: dict[str, Certificate]) -> None:
    cycle = limit_cycle(mu)
    true = area(cycle)
    reach = 1.1 * np.abs(cycle).max(axis=0)
    x1, x2 = np.meshgrid(*(np.linspace(-r, r, 500) for r in reach))
    states = np.stack([x1, x2], axis=-1)
    for (name, certificate), shade in zip(reversed(certificates.items()), SHADES, strict=True):
        V = certificate.V(states)
        axes.contourf(x1, x2, V, levels=[-np.inf, certificate.level], colors=[shade])
        axes.contour(x1, x2, V, levels=[certificate.level], colors="white", linewidths=0.6)
        label = f"{name}: {100 * certificate.volume / true:.1f} %"
        axes.fill([], [], color=shade, label=label)
    coarse = np.stack(np.meshgrid(*(np.linspace(-r, r, 60) for r in reach)), axis=-1)
    velocity = np.array(ReversedVanDerPol(mu).casadi()(coarse.reshape(-1, 2).T, 0, 0, 0)).reshape(2, 60, 60)
    thin = {"color": "0.4", "linewidth": 0.3, "arrowsize": 0.5}
    axes.streamplot(coarse[..., 0], coarse[..., 1], *velocity, density=0.8, **thin)
    axes.plot(*cycle.T, color="#d55e00", linewidth=1.4, label=f"limit cycle: area {true:.2f}")
    axes.plot(0, 0, ".", color="white", markersize=4)
    axes.set(
        xlim=(-reach[0], reach[0]),
        ylim=(-reach[1], reach[1]),
        xlabel=r"$x_1$",
        ylabel=r"$x_2$",
        title=rf"$\mu = {mu:g}$",
    )
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)


def main() -> None:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "van_der_pol_region.png")
    with matplotlib.style.context(STYLE):
        figure, panels = plt.subplots(1, len(CASES), figsize=(6.3, 3.7), layout="constrained")
        for axes, mu in zip(panels, CASES, strict=True):
            began = perf_counter()
            certificates = proved(mu)
            print(f"mu = {mu:g}: {perf_counter() - began:.1f} s in all")
            for name, certificate in certificates.items():
                print(f"  {name:8s} {certificate.kind}, area {certificate.volume:.3f}, {certificate.boxes:,} boxes")
            draw(axes, mu, certificates)
        figure.savefig(path)
    print(f"saved {path}")


if __name__ == "__main__":
    main()
