"""Affine forms hold the functions they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from ctrl.laws import Expression, SaturatedLinear
from ctrl.laws.law import Law
from systems.arithmetic.affine import Affine, Patch, clipped
from systems.arithmetic.interval import Interval


def forms(count: int) -> tuple[Affine, np.ndarray]:
    rng = np.random.default_rng(0)
    half = 10.0 ** rng.uniform(-3, 0.5, (count, 3))
    form = Affine(
        rng.uniform(-2, 2, (count, 2)), rng.standard_normal((count, 2, 3)), 10.0 ** rng.uniform(-6, 0, (count, 2))
    )
    return form, half


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (0.0, np.inf), (-np.inf, 0.3), (0.5, 0.5)])
def test_saturation_along_the_chord(bounds: tuple[float, float]) -> None:
    form, half = forms(500)
    lower, upper = (np.full(2, b) for b in bounds)
    found = clipped(form, half, lower, upper)
    rng = np.random.default_rng(1)
    for k in range(300):
        d = (rng.uniform(-1, 1, half.shape) if k % 2 else rng.choice([-1.0, 1.0], half.shape)) * half
        e = rng.uniform(-1, 1, form.radius.shape) * form.radius
        z = form.value + (form.matrix @ d[..., None])[..., 0] + e
        error = np.clip(z, lower, upper) - (found.value + (found.matrix @ d[..., None])[..., 0])
        assert (np.abs(error) <= found.radius + 1e-12).all()
    width = form.range(half).width
    assert (found.radius <= form.radius + 0.126 * width + 1e-12).all()  # an eighth of the range at worst


def test_an_unbounded_form_stays_unbounded() -> None:
    form = Affine(np.zeros((1, 1)), np.ones((1, 1, 1)), np.full((1, 1), np.inf))
    assert np.isinf(clipped(form, np.ones((1, 1)), np.array([-1.0]), np.array([1.0])).radius).all()


def laws() -> dict[str, Law]:
    import casadi as ca

    x = ca.SX.sym("x", 2)
    K = np.array([[1.4, 0.5], [-0.3, 2.0]])
    return {
        "saturated": SaturatedLinear(K, [0.2, -0.1], [0.1, 0.0], [-0.75, -1.0], [0.75, 1.0]),
        "smooth": Expression(ca.Function("u", [x], [ca.vertcat(ca.tanh(x[0] * x[1]), ca.sin(x[0]) + x[1] ** 2)])),
    }


@pytest.mark.parametrize("name", ["saturated", "smooth"])
def test_laws_over_parallelepipeds(name: str) -> None:
    law, rng = laws()[name], np.random.default_rng(2)
    T = np.array([[1.0, 0.7], [-0.4, 0.5]])
    half, middle = 10.0 ** rng.uniform(-5, 0, (300, 2)), rng.uniform(-1, 1, (300, 2))
    reach = half @ np.abs(T).T * (1 + 1e-12) + 1e-15
    patch = Patch(Interval(middle - reach, middle + reach), Interval.of(middle), half, T)
    form, slopes = law.relax(patch), law.enclose_slopes(patch)
    for k in range(200):
        d = (rng.uniform(-1, 1, half.shape) if k % 2 else rng.choice([-1.0, 1.0], half.shape)) * half
        u = law(middle + d @ T.T)
        assert (np.abs(u - form.value - (form.matrix @ d[..., None])[..., 0]) <= form.radius + 1e-12).all()
        near = law(middle + (1 - 1e-6) * d @ T.T)
        change = np.minimum(slopes.lo * (d @ T.T)[:, None], slopes.hi * (d @ T.T)[:, None]).sum(-1) * 1e-6
        assert (u - near >= change - 1e-12).all()
