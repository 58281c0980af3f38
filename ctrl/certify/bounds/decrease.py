"""How much a Lyapunov function changes along a closed loop: bounds over boxes, and around the equilibrium.

The change is g(x) = V(f(x)) - (1 - kappa) V(x) in discrete time, and V'(x) f(x) + kappa V(x) in continuous time. With f
in affine form and V expanded to second order, g lies within an error of a quadratic in d = x - middle whose
coefficients are thin, so the cancellation between V(f(x)) and V(x) is kept to that order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ctrl.certify.bounds.quadratics import greatest
from ctrl.certify.functions.lyapunov import Lyapunov
from systems.arithmetic.affine import Affine, Patch
from systems.arithmetic.balls import Ball, upward
from systems.arithmetic.interval import Interval

__all__ = ["Change", "change", "decreases_around", "lowest", "negative_definite"]


@dataclass(frozen=True)
class Change:
    """What is known of g over boxes.

    Args:
        upper: (b,), an upper bound of g; NaN where nothing is known.
        spread: (b, k), how much each direction of the patch contributes to the blur of that bound.
        worst: (b, k), where g seems largest, in the patch's coordinates d.
        V: (b,), a lower bound of V over the box.
    """

    upper: np.ndarray
    spread: np.ndarray
    worst: np.ndarray
    V: np.ndarray


@dataclass(frozen=True)
class _Expansion:
    """V over boxes of a frame, to second order in d: V(x) = value + slope'T d + d'(T'HT) d / 2 for an H in ``hessian``.

    Args:
        value: (b,). slope: (b, n), in states. tilt: T'slope. hessian: (b, n, n), in states. bend: T'HT.
    """

    value: Ball
    slope: Ball
    tilt: Ball
    hessian: Ball
    bend: Ball


def lowest(V: Lyapunov, patch: Patch) -> np.ndarray:
    """Lower bounds (b,) of V over the boxes, from V itself and, where V is convex, from its tangent."""
    least = V.enclose(patch.hull).lo
    if V.is_convex:
        tilt = patch.turn.T @ Ball.of(V.enclose_gradient(patch.point))
        fall = upward((tilt.size * patch.half).sum(-1))
        least = np.maximum(least, (Ball.of(V.enclose(patch.point)) - Ball.of(fall)).lo)
    return least


def change(V: Lyapunov, patch: Patch, f: Affine, kappa: float, continuous: bool) -> Change:
    """Bounds of g over parallelepipeds, f being the affine form of the loop over them."""
    half, turn = patch.half, patch.turn
    slope = Ball.of(V.enclose_gradient(patch.point))
    hessian = _batched(V.enclose_hessian(patch.hull), patch.hull.lo)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        bend = turn.T @ (hessian @ turn)
        v = _Expansion(Ball.of(V.enclose(patch.point)), slope, turn.T @ slope, hessian, bend)
        if continuous:
            constant, s, G, push = _derivative(v, turn, half, f, kappa)
        else:
            constant, s, G, push = _difference(V, v, half, f, kappa)
        error = upward((push * f.radius).sum(-1))
        upper, y = greatest(constant, s, G, error, half, patch.hull.shape[-1])
        # Heuristics from here on: a radius is blamed on the directions by their share in the affine form.
        shares = np.abs(f.matrix) * half[..., None, :] + 1e-12 * half[..., None, :]
        blame = _times((shares / shares.sum(-1, keepdims=True)).swapaxes(-1, -2), push * f.radius)
        bowl = 0.5 * half * np.maximum(np.einsum("...ii->...i", G.mid), 0.0) * half
        model = half * (np.abs(s.mid) + 0.5 * _times(np.abs(G.mid), half))
        blur = half * (s.rad + 0.5 * _times(G.rad, half)) + blame + bowl + 0.05 * model
        spread = np.where(np.isfinite(blur), blur, np.maximum(half, 1e-300))
        dip = np.zeros(len(half)) if V.is_convex else upward(0.5 * (half * _negative(bend, half)).sum(-1))
        fall = upward((v.tilt.size * half).sum(-1))
        least = (v.value - Ball.of(fall) - Ball.of(dip)).lo
    return Change(upper, spread, y, least)


def _difference(
    V: Lyapunov, v: _Expansion, half: np.ndarray, f: Affine, kappa: float
) -> tuple[Ball, Ball, Ball, np.ndarray]:
    """g = constant + s d + d'G d / 2 within push'rho for x+ = f(x), rho the radius of f: constant, s, G and push.

    f(x) = p + C d + e with |e| <= rho, so V(f(x)) = V(p) + V'(p)(C d + e) + (C d + e)'H(C d + e) / 2 for a matrix H of
    second derivatives somewhere over the image of the box.
    """
    keep = Ball.of(1.0 - Interval.of(kappa))
    C, rho = Ball.of(f.matrix), f.radius
    stretch = upward(_times(np.abs(f.matrix), half))
    image = Ball(f.value, upward(stretch + rho)).interval
    at = Interval.of(f.value)
    a = Ball.of(V.enclose_gradient(at))
    H = _batched(V.enclose_hessian(image), f.value)
    constant = Ball.of(V.enclose(at)) - _scaled(v.value, keep)
    s = (C.T @ a) - _scaled(v.tilt, keep)
    G = (C.T @ (H @ C)) - _scaled(v.bend, keep)
    push = upward(a.size + _times(H.size, stretch) + 0.5 * _times(H.size, rho))
    return constant, s, G, push


def _derivative(
    v: _Expansion, turn: Ball, half: np.ndarray, f: Affine, kappa: float
) -> tuple[Ball, Ball, Ball, np.ndarray]:
    """The same for x' = f(x): V'(x) = a + H T d with a matrix H of second derivatives somewhere over the box."""
    k = Ball.of(Interval.of(kappa))
    C, p = Ball.of(f.matrix), Ball.of(f.value)
    tilted = v.hessian @ turn
    constant = v.slope.dot(p) + _scaled(v.value, k)
    s = (C.T @ v.slope) + (tilted.T @ p) + _scaled(v.tilt, k)
    across = tilted.T @ C
    G = across + across.T + _scaled(v.bend, k)
    push = upward(v.slope.size + _times(tilted.size, half))
    return constant, s, G, push


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
    """Whether g < 0 < V for all states around the equilibrium but itself, proved; (b,) of bool.

    With x = c + T d, f(x) = J d (continuous time) or c + J d (discrete time), and V(x) = d'T'HT d / 2 with H in the
    hull of the second derivatives over the segment from c, the same with c + J d: one inequality between matrices
    settles all.

    Args:
        slopes: (b, n, n), of f in d. core: around the equilibrium.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        turn = core.turn
        tilted = _batched(V.enclose_hessian(core.hull), core.half) @ turn
        bend = turn.T @ tilted
        if continuous:
            # V'(x) = K T d with another K in the same hull.
            across = tilted.T @ slopes
            growth = across + across.T + _scaled(bend, Ball.of(Interval.of(kappa)))
        else:
            reach = upward(_times(slopes.size, core.half))
            image = V.centre + Interval(-reach, reach) if np.isfinite(reach).all() else _whole(reach)
            H = _batched(V.enclose_hessian(image), core.half)
            growth = (slopes.T @ (H @ slopes)) - _scaled(bend, Ball.of(1.0 - Interval.of(kappa)))
        return negative_definite(growth) & negative_definite(-bend)


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
    """Entry by entry times one number that is known to a radius."""
    product = ball * float(factor.mid)
    return product.widened(ball.size * float(factor.rad))


def _negative(H: Ball, half: np.ndarray) -> np.ndarray:
    """(b, n) with half_i times its sum bounding -d'Hd from above over |d| <= half, unless H is convex by its sign."""
    size = H.size
    i = np.arange(half.shape[-1])
    size = np.broadcast_to(size, (*half.shape, half.shape[-1])).copy()
    size[..., i, i] = np.maximum(-np.broadcast_to(H.lo, size.shape)[..., i, i], 0.0)
    return _times(size, half)
