"""Bounds on the change of a Lyapunov function along a closed loop, over boxes and around the equilibrium.

The change is g(x) = V(f(x)) - (1 - kappa) V(x) in discrete time, and V'(x) f(x) + kappa V(x) in continuous time. With f
in affine form and V expanded to second order, g lies within an error of a quadratic in d = x - middle whose
coefficients are thin, so the cancellation between V(f(x)) and V(x) is kept to that order: a Taylor model of order two
(Makino & Berz 2003, "Taylor models and other validated functional inclusion methods").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from ctrl.certify.bounds.quadratics import Terms, by_terms, greatest, sharpened
from ctrl.certify.functions.lyapunov import Lyapunov
from systems.arithmetic.affine import Affine, Patch
from systems.arithmetic.balls import Ball, upward
from systems.arithmetic.interval import Interval

__all__ = ["Change", "Expansion", "change", "decreases_around", "expanded", "lowest", "negative_definite"]


@final
@dataclass(frozen=True, eq=False)
class Change:
    """Bounds on g over boxes.

    Args:
        upper: (b,), an upper bound on g; NaN where there is none.
        spread: (b, k), how much each direction of the patch contributes to the error of that bound.
        worst: (b, k), where g seems largest, in the patch's coordinates d.
        V: (b,), a lower bound on V over the box.
    """

    upper: np.ndarray
    spread: np.ndarray
    worst: np.ndarray
    V: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class Expansion:
    """The expansion of g over boxes, with the fields of :class:`Change` that follow from it.

    Args:
        terms: bounds of g term by term.
        spread: (b, k), as of :class:`Change`.
        V: (b,), as of :class:`Change`.
    """

    terms: Terms
    spread: np.ndarray
    V: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class _Expansion:
    """V over boxes of a frame, to second order in d: V(x) = value + gradient'T d + d'(T'HT) d / 2 for an H in
    ``hessian`` (Taylor's theorem with Lagrange's remainder).

    Args:
        value: (b,).
        gradient: (b, n), in states.
        frame_gradient: (b, k), T'gradient.
        hessian: (b, n, n), in states.
        frame_hessian: (b, k, k), T'HT.
    """

    value: Ball
    gradient: Ball
    frame_gradient: Ball
    hessian: Ball
    frame_hessian: Ball


@final
@dataclass(frozen=True, eq=False)
class _Quadratic:
    """g = constant + linear'd + d'(hessian) d / 2, within remainder'rho where rho is the radius of f.

    Args:
        constant: (b,).
        linear: (b, k).
        hessian: (b, k, k).
        remainder: (b, n).
    """

    constant: Ball
    linear: Ball
    hessian: Ball
    remainder: np.ndarray


def lowest(V: Lyapunov, patch: Patch) -> np.ndarray:
    """Lower bounds (b,) of V over the boxes, from V itself and, where V is convex, from its tangent."""
    least = V.enclose(patch.hull).lo
    if V.is_convex:
        gradient = patch.turn.T @ Ball.of(V.enclose_gradient(patch.point))
        decrease = upward((gradient.size * patch.half).sum(-1))
        least = np.maximum(least, (Ball.of(V.enclose(patch.point)) - Ball.of(decrease)).lo)
    return least


def change(V: Lyapunov, patch: Patch, f: Affine, kappa: float, continuous: bool) -> Change:
    """Bounds of g over parallelepipeds, f being the affine form of the loop over them."""
    expansion = expanded(V, patch, f, kappa, continuous)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        upper, y = greatest(expansion.terms, lambda *terms: sharpened(Terms(*terms), patch.hull.shape[-1]))
    return Change(upper, expansion.spread, y, expansion.V)


def expanded(V: Lyapunov, patch: Patch, f: Affine, kappa: float, continuous: bool) -> Expansion:
    """The expansion of g over parallelepipeds, f being the affine form of the loop over them."""
    half, turn = patch.half, patch.turn
    gradient = Ball.of(V.enclose_gradient(patch.point))
    hessian = _batched(V.enclose_hessian(patch.hull), patch.hull.lo)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        frame_hessian = turn.T @ (hessian @ turn)
        v = _Expansion(Ball.of(V.enclose(patch.point)), gradient, turn.T @ gradient, hessian, frame_hessian)
        g = _derivative(v, turn, half, f, kappa) if continuous else _difference(V, v, half, f, kappa)
        error = upward((g.remainder * f.radius).sum(-1))
        terms = by_terms(g.constant, g.linear, g.hessian, error, half)
        # The following numbers are estimates, not bounds: they decide which direction to halve, by its contribution.
        # The relaxation error of f is divided among the directions in proportion to their part in the affine form.
        shares = np.abs(f.matrix) * half[..., None, :] + 1e-12 * half[..., None, :]
        relaxation = _times((shares / shares.sum(-1, keepdims=True)).swapaxes(-1, -2), g.remainder * f.radius)
        curvature = 0.5 * half * np.maximum(np.einsum("...ii->...i", g.hessian.mid), 0.0) * half
        size = half * (np.abs(g.linear.mid) + 0.5 * _times(np.abs(g.hessian.mid), half))
        share = half * (g.linear.rad + 0.5 * _times(g.hessian.rad, half)) + relaxation + curvature + 0.05 * size
        spread = np.where(np.isfinite(share), share, np.maximum(half, 1e-300))
        # V >= its value - |gradient'd| - the largest decrease by its second-order part.
        concavity = (
            np.zeros(len(half)) if V.is_convex else upward(0.5 * (half * _negative(frame_hessian, half)).sum(-1))
        )
        decrease = upward((v.frame_gradient.size * half).sum(-1))
        least = (v.value - Ball.of(decrease) - Ball.of(concavity)).lo
    return Expansion(terms, spread, least)


def _difference(V: Lyapunov, v: _Expansion, half: np.ndarray, f: Affine, kappa: float) -> _Quadratic:
    """g for x+ = f(x).

    f(x) = p + C d + e with |e| <= rho, so V(f(x)) = V(p) + V'(p)(C d + e) + (C d + e)'H(C d + e) / 2 for a matrix H of
    second derivatives somewhere over the image of the box.
    """
    keep = Ball.of(1.0 - Interval.of(kappa))
    C, rho = Ball.of(f.matrix), f.radius
    stretch = upward(_times(np.abs(f.matrix), half))
    image = Ball(f.value, upward(stretch + rho)).interval
    middle = Interval.of(f.value)
    a = Ball.of(V.enclose_gradient(middle))
    H = _batched(V.enclose_hessian(image), f.value)
    return _Quadratic(
        constant=Ball.of(V.enclose(middle)) - _scaled(v.value, keep),
        linear=(C.T @ a) - _scaled(v.frame_gradient, keep),
        hessian=(C.T @ (H @ C)) - _scaled(v.frame_hessian, keep),
        # e enters through V'(p) e, (C d)'H e with |C d| <= stretch, and e'H e / 2: the second-order remainder.
        remainder=upward(a.size + _times(H.size, stretch) + 0.5 * _times(H.size, rho)),
    )


def _derivative(v: _Expansion, turn: Ball, half: np.ndarray, f: Affine, kappa: float) -> _Quadratic:
    """g for x' = f(x).

    By the mean value theorem V'(x) = a + H T d with a matrix H of second derivatives somewhere over the box.
    """
    k = Ball.of(Interval.of(kappa))
    C, p = Ball.of(f.matrix), Ball.of(f.value)
    slopes = v.hessian @ turn
    across = slopes.T @ C
    return _Quadratic(
        constant=v.gradient.dot(p) + _scaled(v.value, k),
        linear=(C.T @ v.gradient) + (slopes.T @ p) + _scaled(v.frame_gradient, k),
        hessian=across + across.T + _scaled(v.frame_hessian, k),
        remainder=upward(v.gradient.size + _times(slopes.size, half)),
    )


def negative_definite(M: Ball) -> np.ndarray:
    """Whether every symmetric matrix within the balls (b, n, n) is negative definite, proved; (b,) of bool."""
    n = M.shape[-1]
    finite = np.asarray((np.isfinite(M.mid) & np.isfinite(M.rad)).all(axis=(-1, -2)))
    middle = np.where(finite[:, None, None], 0.5 * (M.mid + M.mid.swapaxes(-1, -2)), 0.0)
    values, vectors = np.linalg.eigh(middle)
    usable = np.asarray(finite & (values < 0).all(-1))
    root = 1.0 / np.sqrt(np.where(usable[:, None], -values, 1.0))
    T = np.where(usable[:, None, None], vectors * root[:, None, :], 0.0)
    turned = (Ball.of(T.swapaxes(-1, -2)) @ (M @ Ball.of(T))).interval  # about minus the identity
    i = np.arange(n)
    size = np.maximum(np.abs(turned.lo), np.abs(turned.hi))
    size[:, i, i] = 0.0
    weight = _weights(size)
    others = upward((size @ weight[..., None])[..., 0] / weight)
    # Gershgorin's discs of a similar matrix; T is then regular, since T y = 0 would make y'T'MTy = 0.
    return usable & np.asarray(turned.hi[:, i, i] + others * (1 + 2.0**-50) < 0).all(-1)


def _weights(size: np.ndarray) -> np.ndarray:
    """Positive weights (b, n) for which the largest of the sums of size_ij weight_j / weight_i over j is about as small
    as it can be, the spectral radius; any weights will do for a bound (Collatz, 1942)."""
    weight = np.ones(size.shape[:-1])
    with np.errstate(invalid="ignore", over="ignore"):
        for _ in range(30):
            spread = (size @ weight[..., None])[..., 0] + 0.5 * weight * size.sum(-1).max(-1, keepdims=True)
            weight = spread / spread.max(-1, keepdims=True)
    return np.where(np.isfinite(weight) & (weight > 1e-6), weight, 1e-6)


def decreases_around(V: Lyapunov, slopes: Ball, core: Patch, kappa: float, continuous: bool) -> np.ndarray:
    """Whether provably g < 0 < V for all states around the equilibrium except the equilibrium itself; (b,) of bool.

    With x = c + T d, f(x) = J d (continuous time) or c + J d (discrete time), and V(x) = d'T'HT d / 2 with H in the
    hull of the second derivatives over the segment from c, and likewise at c + J d: one matrix inequality proves the
    decrease for all of them.

    Args:
        slopes: (b, n, n), of f in d.
        core: around the equilibrium.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        turn = core.turn
        slopes_of_V = _batched(V.enclose_hessian(core.hull), core.half) @ turn
        hessian = turn.T @ slopes_of_V
        if continuous:
            # V'(x) = K T d with another K in the same hull.
            across = slopes_of_V.T @ slopes
            growth = across + across.T + _scaled(hessian, Ball.of(Interval.of(kappa)))
        else:
            reach = upward(_times(slopes.size, core.half))
            image = V.centre + Interval(-reach, reach) if np.isfinite(reach).all() else _whole(reach)
            H = _batched(V.enclose_hessian(image), core.half)
            growth = (slopes.T @ (H @ slopes)) - _scaled(hessian, Ball.of(1.0 - Interval.of(kappa)))
        return negative_definite(growth) & negative_definite(-hessian)


def _batched(H: Interval, like: np.ndarray) -> Ball:
    """Second derivatives (n, n) or (b, n, n) as balls (b, n, n), one per row of ``like`` (b, n)."""
    ball = Ball.of(H)
    shape = (*like.shape, like.shape[-1])
    return Ball(np.broadcast_to(ball.mid, shape), np.broadcast_to(ball.rad, shape))


def _whole(like: np.ndarray) -> Interval:
    return Interval(np.full_like(like, -np.inf), np.full_like(like, np.inf))


def _times(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return (matrix @ vector[..., None])[..., 0]


def _scaled(ball: Ball, factor: Ball) -> Ball:
    """The entrywise product with one number that is known up to a radius."""
    product = ball * float(factor.mid)
    return product.widened(ball.size * float(factor.rad))


def _negative(H: Ball, half: np.ndarray) -> np.ndarray:
    """(b, n) with half_i times its sum bounding -d'Hd from above over |d| <= half, unless H is convex by its sign."""
    size = H.size
    i = np.arange(half.shape[-1])
    size = np.broadcast_to(size, (*half.shape, half.shape[-1])).copy()
    size[..., i, i] = np.maximum(-np.broadcast_to(H.lo, size.shape)[..., i, i], 0.0)
    return _times(size, half)
