"""Sampling: where a Lyapunov function stops to decrease, as far as many points can tell. Nothing here is a proof."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctrl.certify.closed_loop import ClosedLoop
from ctrl.certify.lyapunov import Quadratic
from systems import InvalidValue

__all__ = ["SampledLimit", "sampled_limit"]


@dataclass(frozen=True, eq=False)
class SampledLimit:
    """The largest level below which no sample breaks the decrease.

    Args:
        level: V of the lowest violation found; where there is none, the highest level that was searched.
        violation: the point (n,) that breaks the decrease at this level, None where none was found.
        samples: points looked at.
    """

    level: float
    violation: np.ndarray | None
    samples: int


def sampled_limit(
    loop: ClosedLoop,
    V: Quadratic,
    kappa: float = 0.0,
    ceiling: float | None = None,
    rays: int = 2048,
    seed: int = 0,
) -> SampledLimit:
    """Lowest level of V at which a state of the task's domain breaks V(f(x)) < (1 - kappa) V(x) or leaves the domain.

    Rays from the reference find the neighbourhood, random descent from the lowest violations the point.

    Args:
        ceiling: levels above it are not searched; where left out, the highest level of V on the domain's corners, and
            for an unbounded domain 1,000 times that on the corners of the support of the initial states.

    Raises:
        InvalidValue: neither the domain nor the initial states are bounded, and no ceiling is given.
    """
    rng = np.random.default_rng(seed)
    n = len(V.P)
    lower, upper = loop.domain
    top = _ceiling(loop, V) if ceiling is None else ceiling
    if n == 2:
        angle = np.linspace(0.0, 2 * np.pi, rays, endpoint=False)
        sphere = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    else:
        sphere = rng.standard_normal((rays, n))
        sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    directions = sphere @ np.linalg.inv(np.linalg.cholesky(V.P))  # V = 1 on these
    samples = 0

    def broken(x: np.ndarray) -> np.ndarray:
        nonlocal samples
        samples += len(x)
        after = loop(x)
        inside = ((x >= lower) & (x <= upper)).all(axis=1)
        with np.errstate(invalid="ignore"):
            kept = ((after >= lower) & (after <= upper)).all(axis=1) & (V(after) < (1.0 - kappa) * V(x))
        return inside & ~kept

    found = np.zeros((0, n))
    radii = np.concatenate([np.geomspace(1e-4, 0.02, 16, endpoint=False), np.linspace(0.02, 1.0, 50)])
    level = top
    for _ in range(12):  # the same rays over an ever smaller set, until that shows nothing lower
        x = V.centre + np.sqrt(level) * (directions[:, None, :] * radii[:, None]).reshape(-1, n)
        bad = x[broken(x)]
        if not len(bad):
            break
        found = np.concatenate([found, bad])
        found = found[np.argsort(V(found))[:64]]
        if V(found[0]) > 0.8 * level:
            break
        level = 1.02 * float(V(found[0]))
        if level < 1e-9 * top:  # it breaks at the reference itself
            break
    if not len(found):
        return SampledLimit(top, None, samples)
    scale = 0.1
    for _ in range(60):
        away = found - V.centre
        size = np.sqrt(V(found))[:, None, None]
        noise = rng.standard_normal((len(found), 32, n)) @ np.linalg.inv(np.linalg.cholesky(V.P))
        x = (V.centre + away[:, None, :] + scale * size * noise).reshape(-1, n)
        x = x[V(x) < V(found).max()]
        found = np.concatenate([found, x[broken(x)]])
        found = found[np.argsort(V(found))[:64]]
        scale *= 0.85
    return SampledLimit(float(V(found[0])), found[0], samples)


def _ceiling(loop: ClosedLoop, V: Quadratic) -> float:
    initial = loop.task.initial.support(loop.task.plant.state)
    for (lower, upper), factor in ((loop.domain, 1.0), (initial, 1e3)):
        reach = np.maximum(np.abs(lower - V.centre), np.abs(upper - V.centre))
        if np.isfinite(reach).all() and (reach > 0).any():
            return factor * float(reach @ np.abs(V.P) @ reach)
    raise InvalidValue(
        f"task '{loop.task.name}': neither the domain nor the initial states are bounded, so nothing says how far to "
        "search; give a ceiling for the level of V"
    )
