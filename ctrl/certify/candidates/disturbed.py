"""Disturbed loops: the support of a task's disturbances, and the smallest set that trajectories can be expected to
reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ctrl.certify.candidates.sampling import corners, sampled_limit
from ctrl.certify.functions.lyapunov import Lyapunov
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.controller import NotApplicable
from systems import Task
from systems.arguments import expect_seed

__all__ = ["disturbances", "reachable", "sampled_inner"]

_POINTS = 40_000
_MARGIN = 1.2  # tighter claims are harder to prove, and these are 10 % wider than what samples need


def disturbances(task: Task) -> dict[str, tuple[float, float]]:
    """Bounds of the support of the task's distribution of disturbances, by signal, in the form used by :func:`certify`.

    Args:
        task: with bounded disturbances.

    Raises:
        NotApplicable: the disturbances are always zero, or their distribution is unbounded.
    """
    declared = task.plant.disturbance
    lower, upper = task.disturbance.support(declared)
    if not np.isfinite([lower, upper]).all():
        raise NotApplicable(
            f"task '{task.name}' has unbounded disturbances, under which no bounded set is invariant; give "
            "intervals, such as disturbance={name: (-1.0, 1.0)}"
        )
    drawn = {name: (low, high) for name, low, high in zip(declared.names, lower.tolist(), upper.tolist(), strict=True)}
    drawn = {name: ends for name, ends in drawn.items() if ends != (0.0, 0.0)}
    if not drawn:
        raise NotApplicable(f"task '{task.name}' has no disturbance; give it a distribution, such as Uniform(...)")
    return drawn


def reachable(
    loop: ClosedLoop,
    V: Lyapunov,
    kappa: float = 0.0,
    level: float | None = None,
    box: tuple[np.ndarray, np.ndarray] | None = None,
) -> float:
    """The default inner level of a claim: 20 % above the sampled one, 0 without disturbances."""
    if not loop.is_disturbed:
        return 0.0
    inner = max(_MARGIN * sampled_inner(loop, V, kappa, level, box), 1e-12)
    return inner if level is None else min(inner, level)


def sampled_inner(
    loop: ClosedLoop,
    V: Lyapunov,
    kappa: float = 0.0,
    level: float | None = None,
    box: tuple[np.ndarray, np.ndarray] | None = None,
    seed: int = 0,
) -> float:
    """The smallest inner level consistent with samples of trajectories that reach {V <= inner} and remain there.

    Where V does not decrease by the share kappa, a trajectory must end in {V <= inner} within one sample; in continuous
    time, it must start there. Such states lie around the centre, where disturbances outweigh feedback, and often again
    far out, where the actuators are too weak; the former are used: those below the widest gap between the two groups.

    Args:
        loop: with disturbances.
        V: the Lyapunov function.
        kappa: as :func:`certify`; default: 0, any decrease.
        level: of the region; default: the sampled limit of the undisturbed loop.
        box: lower and upper (n,) to which the region is cut; default: the domain of the task.
        seed: of the samples; default: 0.

    Returns:
        A number of at least 0; about ``level`` where there is no gap.
    """
    lower, upper = loop.domain if box is None else box
    rng = np.random.default_rng(expect_seed(seed))
    if level is None:
        level = sampled_limit(replace(loop, disturbance={}), V, kappa, box=(lower, upper)).level
    low, high = V.bounding_box(level)
    low, high = np.maximum(low, lower), np.minimum(high, upper)

    def needed_inner(x: np.ndarray) -> np.ndarray:
        """The least inner level that each state (b, n) requires; 0 where V decreases."""
        value, most = V(x), np.zeros(len(x))
        for w in corners(loop):
            with np.errstate(invalid="ignore", over="ignore"):
                after = loop(x, w)
                if loop.continuous:
                    decreases, needed = (V.gradient(x) * after).sum(-1) < -kappa * value, value
                else:
                    needed = V(after)
                    decreases = needed < (1.0 - kappa) * value
            most = np.maximum(most, np.where(decreases, 0.0, needed))
        return np.where((value <= level) & ((x >= low) & (x <= high)).all(axis=1), most, 0.0)

    # As many points in every octave of sizes, so that a small set is sampled as well as a large one.
    ends = rng.uniform(low, high, (_POINTS, len(low)))
    x = V.middle + (ends - V.middle) * 2.0 ** rng.uniform(-12.0, 0.0, (_POINTS, 1))
    needed = needed_inner(x)
    x, needed = x[needed > 0], needed[needed > 0]
    if not len(x):
        return 0.0
    order = np.argsort(V(x))
    x, needed = x[order], needed[order]
    reached, following = np.maximum.accumulate(needed), np.append(V(x)[1:], level)
    k = int(np.argmax(following / np.maximum(reached, 1e-300)))
    ceiling = following[k] if following[k] > reached[k] else level
    x, scale = x[: k + 1][np.argsort(needed[: k + 1])[-64:]], 0.3
    spread = np.abs(x - V.middle).max(axis=0) + 1e-300
    for _ in range(60):
        near = (x[:, None, :] + scale * spread * rng.standard_normal((len(x), 16, x.shape[1]))).reshape(-1, x.shape[1])
        x = np.concatenate([x, near[V(near) <= ceiling]])
        x = x[np.argsort(needed_inner(x))[-64:]]
        scale *= 0.85
    return float(needed_inner(x).max())
