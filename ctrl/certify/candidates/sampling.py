"""Sampled estimates of the level up to which a Lyapunov function decreases, and of the region of attraction; no
proofs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from ctrl.certify.functions.lyapunov import Lyapunov, QuadraticLyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from systems import InvalidValue
from systems.arguments import expect_seed
from systems.statistics import Rate

__all__ = ["SampledLimit", "SampledRegion", "arrives", "corners", "sampled_limit", "sampled_region"]

_NEAR = 0.01  # arrived: within this share of the box's size


@dataclass(frozen=True, eq=False)
class SampledLimit:
    """The largest level below which no sample violates the decrease.

    Args:
        level: V of the lowest violation; if there is none, the highest level that was searched.
        violation: the point (n,) that violates the decrease at this level; None if there is none.
        samples: number of points examined.
    """

    level: float
    violation: np.ndarray | None
    samples: int


@dataclass(frozen=True, eq=False)
class SampledRegion:
    """The attracted share of a box, estimated by simulation from uniformly drawn initial states.

    Args:
        rate: runs that arrived, of how many; its Wilson interval is at 95 %.
        box: volume of the box.
    """

    rate: Rate
    box: float

    @property
    def volume(self) -> float:
        return self.rate.value * self.box

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the volume, which covers the randomness of the draws but not the length of the runs."""
        low, high = self.rate.interval
        return low * self.box, high * self.box


def sampled_region(
    step: Callable[[np.ndarray], np.ndarray],
    centre: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    draws: int = 10_000,
    steps: int = 2000,
    seed: int = 0,
) -> SampledRegion:
    """Share of a box from which runs approach a state without leaving the box.

    Args:
        step: states (b, n) one sample later, such as a :class:`ClosedLoop`; any controller, with or without a control
            law.
        centre: (n,), the state to approach, to 1 % of the box's size.
        lower: (n,), finite, of the box.
        upper: (n,), finite, of the box.
        draws: initial states, drawn evenly from the box; default: 10,000.
        steps: samples after which a run is counted as not having arrived; default: 2,000.
        seed: of the draws; default: 0.

    Raises:
        InvalidValue: the box is not bounded.
    """
    if not np.isfinite([lower, upper]).all():
        raise InvalidValue(
            f"box from {lower} to {upper}; expected finite bounds, between which initial states are drawn uniformly"
        )
    x = np.random.default_rng(expect_seed(seed)).uniform(lower, upper, (draws, len(lower)))
    arrived = arrives(step, x, centre, lower, upper, steps)
    return SampledRegion(Rate(int(arrived.sum()), draws), float(np.prod(upper - lower)))


def arrives(
    step: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    centre: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    steps: int,
) -> np.ndarray:
    """Whether runs from the states (b, n) approach the centre (n,) without leaving the box; (b,) of bool."""
    scale = np.where(np.isfinite(upper - lower), upper - lower, 1.0)
    arrived, going = np.zeros(len(x), dtype=bool), np.arange(len(x))
    for k in range(steps):
        x = step(x)
        stays = ((x >= lower) & (x <= upper)).all(axis=1)
        x, going = x[stays], going[stays]
        if k % 20 == 19:
            near = (np.abs(x - centre) < _NEAR * scale).all(axis=1)
            arrived[going[near]] = True
            x, going = x[~near], going[~near]
        if not len(x):
            break
    return arrived


def sampled_limit(
    loop: ClosedLoop,
    V: Lyapunov,
    kappa: float = 0.0,
    ceiling: float | None = None,
    rays: int = 2048,
    seed: int = 0,
    box: tuple[np.ndarray, np.ndarray] | None = None,
    inner: float = 0.0,
) -> SampledLimit:
    """Lowest level of V at which a state of the box violates the decrease of V or leaves the box.

    Rays from the reference locate the neighbourhood, and random descent from the lowest violations the point.

    Args:
        loop: in discrete or continuous time.
        V: the Lyapunov function.
        kappa: as :func:`certify`; default: 0, any decrease.
        ceiling: levels above it are not searched; default: for a quadratic V the highest level on the box's corners,
            and for an unbounded box 1,000 times that on the corners of the support of the initial states.
        rays: from the centre of V; default: 2,048.
        seed: of rays (in more than two states) and descent; default: 0.
        box: lower and upper (n,); default: the task's domain.
        inner: states that end up in {V <= inner}, or in continuous time start there, do not violate the decrease;
            default: 0. Disturbances are examined at the corners of their box.

    Raises:
        InvalidValue: neither the box nor the initial states are bounded, and no ceiling is given; or V is not quadratic
            and the box not bounded.
    """
    rng = np.random.default_rng(expect_seed(seed))
    lower, upper = loop.domain if box is None else box
    n, centre = len(lower), V.middle
    if n == 2:
        angle = np.linspace(0.0, 2 * np.pi, rays, endpoint=False)
        sphere = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    else:
        sphere = rng.standard_normal((rays, n))
        sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    if isinstance(V, QuadraticLyapunov):
        top = _ceiling(loop, V, lower, upper) if ceiling is None else ceiling
        metric = np.linalg.inv(np.linalg.cholesky(V.P))  # V = 1 on sphere @ metric
        directions = sphere @ metric * np.sqrt(top)
    elif np.isfinite([lower, upper]).all():
        top = np.inf if ceiling is None else ceiling
        metric = np.diag(upper - lower) / 4.0
        directions = sphere / np.abs(sphere).max(axis=1, keepdims=True)
        directions = np.where(directions > 0, directions * (upper - centre), directions * (centre - lower))
    else:
        raise InvalidValue(
            f"task '{loop.task.name}': V is not quadratic, so it is sampled in a box; give box, with finite bounds, "
            "or a bounded domain"
        )
    samples = 0

    def broken(x: np.ndarray) -> np.ndarray:
        nonlocal samples
        samples += len(x)
        valid = np.ones(len(x), dtype=bool)
        for w in corners(loop):
            after = loop(x, w)
            with np.errstate(invalid="ignore", over="ignore"):
                if loop.continuous:
                    decreases = ((V.gradient(x) * after).sum(-1) < -kappa * V(x)) | (V(x) < inner)
                    leaves = ((x <= lower) & (after < 0)) | ((x >= upper) & (after > 0))
                    valid &= decreases & ~leaves.any(axis=1)
                else:
                    decreases = V(after) < np.maximum((1.0 - kappa) * V(x), inner if inner > 0 else -np.inf)
                    valid &= ((after >= lower) & (after <= upper)).all(axis=1) & decreases
        return ((x >= lower) & (x <= upper)).all(axis=1) & ~valid

    def lowest(x: np.ndarray) -> np.ndarray:
        return x[np.argsort(V(x))[:64]]

    violations = np.zeros((0, n))
    radii = np.concatenate([np.geomspace(1e-4, 0.02, 16, endpoint=False), np.linspace(0.02, 1.0, 50)])
    shrink, level = 1.0, top
    for _ in range(12):  # the same rays over smaller and smaller sets, until no lower violation appears
        x = np.clip(centre + shrink * (directions[:, None, :] * radii[:, None]).reshape(-1, n), lower, upper)
        x = x[V(x) <= level]
        new = x[broken(x)]
        if not len(new):
            break
        violations = lowest(np.concatenate([violations, new]))
        least = float(V(violations[0]))
        if least > 0.8 * level:
            break
        level = 1.02 * least
        away = np.linalg.norm((violations - centre) @ np.linalg.inv(metric), axis=1).max()
        shrink = min(shrink, 1.02 * away / np.linalg.norm(directions @ np.linalg.inv(metric), axis=1).max())
        if not level > 0 or shrink < 1e-5:  # the violation is at the reference itself
            break
    if not len(violations):
        x = np.clip(centre + directions, lower, upper)
        return SampledLimit(top if np.isfinite(top) else float(V(x).max()), None, samples)
    scale = 0.1
    for _ in range(60):
        away = violations - centre
        size = np.linalg.norm(away @ np.linalg.inv(metric), axis=1)[:, None, None]
        noise = rng.standard_normal((len(violations), 32, n)) @ metric
        x = np.clip((centre + away[:, None, :] + scale * size * noise).reshape(-1, n), lower, upper)
        x = x[V(x) < V(violations).max()]
        violations = lowest(np.concatenate([violations, x[broken(x)]]))
        scale *= 0.85
    return SampledLimit(float(V(violations[0])), violations[0], samples)


def corners(loop: ClosedLoop) -> np.ndarray:
    """The corners (k, q) of the box of disturbances; zero if there are none."""
    ends = [
        sorted({low, high})
        for low, high in zip(loop.disturbance_box.lo.tolist(), loop.disturbance_box.hi.tolist(), strict=True)
    ]
    return np.array(list(product(*ends)))


def _ceiling(loop: ClosedLoop, V: QuadraticLyapunov, lower: np.ndarray, upper: np.ndarray) -> float:
    initial = loop.task.initial.support(loop.task.plant.state)
    for (low, high), factor in (((lower, upper), 1.0), (initial, 1e3)):
        reach = np.maximum(np.abs(low - V.middle), np.abs(high - V.middle))
        if np.isfinite(reach).all() and (reach > 0).any():
            return factor * float(reach @ np.abs(V.P) @ reach)
    raise InvalidValue(
        f"task '{loop.task.name}': neither the domain nor the initial states are bounded, so the search has no upper "
        "limit; give ceiling, the highest level of V to try"
    )
