"""Reasons why a search ended without a proof, with advice; in floating point, without proofs."""

from __future__ import annotations

import numpy as np

from ctrl.certify.claims.claim import Claim
from systems.arithmetic.interval import Interval

__all__ = ["LOWER", "MORE", "around_centre", "undefined_over"]

MORE = (
    "more seconds (SearchLimits(seconds=...), --seconds), a lower level, or another V (lyapunov(task, law), --degree "
    '4); on a GPU, SearchLimits(device="cuda")'
)
LOWER = (
    "a lower level, or another V (lyapunov(task, law), --degree 4): the decrease of this V is too small to be "
    "distinguished from zero"
)


_ZERO = 1e-12  # the largest value that rounding may give in place of zero


def around_centre(claim: Claim) -> tuple[str, str]:
    """The reason why the linearised loop settles no neighbourhood of the centre of V, and what to try."""
    loop, V, kappa = claim.loop, claim.region.V, claim.kappa
    J = loop.enclose_jacobian(V.centre).jacobian
    P = V.enclose_hessian(V.centre).mid
    if not (np.isfinite(J.rad).all() and np.isfinite(J.mid).all()):
        return (
            "the loop may be undefined at the centre of V, or not differentiable there",
            "rewriting the expressions that are undefined there: square roots and quotients of terms that vanish, "
            "logarithms, atan2",
        )
    convexity = np.linalg.eigvalsh(0.5 * (P + P.T)) if np.isfinite(P).all() else np.zeros(1)
    if convexity.min() <= _ZERO * convexity.max():
        return (
            "V is not strictly convex at its centre",
            "a V with positive definite second derivatives there, such as lyapunov(task, law)",
        )
    values = np.linalg.eigvals(J.mid)
    growth, most = (values.real.max(), 0.0) if loop.continuous else (np.abs(values).max(), 1.0)
    kind = "a real part" if loop.continuous else "a modulus"
    if growth >= most - _ZERO:
        return (
            f"the linearised loop has an eigenvalue with {kind} of {growth:.6g}, expected less than {most:g}: no V "
            "decreases along all of its trajectories",
            "another law; or another plant, without the states that do not converge (such as the norm of a quaternion, "
            "which in_error_coordinates(task) takes out)",
        )
    varied = ", ".join(loop.uncertain)
    narrower = f"; narrower intervals of {varied}, for all of which one V has to decrease" if varied else ""
    change = P @ J.mid + J.mid.T @ P + kappa * P if loop.continuous else J.mid.T @ P @ J.mid - (1.0 - kappa) * P
    decrease = np.linalg.eigvalsh(0.5 * (change + change.T))
    if decrease.max() >= -_ZERO * np.abs(decrease).max():
        return (
            "this V does not decrease along the trajectories of the linearised loop"
            + (f" at the rate kappa = {kappa:g}" if kappa else ""),
            "lyapunov(task, law), which does" + (", or a smaller kappa" if kappa else ""),
        )
    return (
        "no decrease was proved around the centre of V: it is smaller there than the width of the bounds on the "
        "loop's Jacobian",
        "a V that decreases evenly in all states: lyapunov(task, law)"
        + narrower
        + ("; a smaller kappa" if kappa else "")
        + "; a law without a kink at the centre",
    )


def undefined_over(claim: Claim, hull: Interval) -> tuple[str, str] | None:
    """The point in boxes (b, n) at which the loop or V may be undefined, and what to try; None if there is none."""
    for what, value in (("the closed loop", claim.loop.enclose(hull)), ("V", claim.region.V.enclose(hull))):
        if value.undefined is not None:
            k = int(np.argmax(value.undefined.reshape(len(hull.lo), -1).any(axis=1)))
            point = ", ".join(f"{a:.4g}" for a in hull.mid[k])
            return (
                f"{what} may be undefined near x = [{point}] (a quotient by zero, a root or logarithm of a value that "
                "may be negative, an overflow)",
                "a lower level, or a domain that excludes this point; or equations that are defined everywhere",
            )
    return None
