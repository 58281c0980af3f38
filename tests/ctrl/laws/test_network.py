"""Networks as laws: their relaxations hold, and are tighter than slopes alone."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from ctrl.certify import ClosedLoop, certify, riccati
from ctrl.laws import Network
from ctrl.laws.activations import derivative, function, relaxed
from ctrl.laws.law import Law
from ctrl.regulator import LQR
from systems import DimensionMismatch, InvalidValue, UnknownName
from systems.arithmetic.affine import Patch
from systems.arithmetic.interval import Interval
from systems.library.pendulum import pendulum

NAMES = ("relu", "leaky_relu", "tanh", "gelu", "identity")


def random_network(name: str, seed: int = 0) -> Network:
    rng = np.random.default_rng(seed)
    sizes = [2, 8, 8, 1]
    weights = tuple(rng.standard_normal((b, a)) / np.sqrt(a) * 1.5 for a, b in pairwise(sizes))
    return Network(weights, tuple(0.3 * rng.standard_normal(m) for m in sizes[1:]), (name, name, "identity"))


def intervals(count: int = 2000) -> Interval:
    rng = np.random.default_rng(1)
    middle, half = rng.uniform(-4, 4, count), 10.0 ** rng.uniform(-12, 1, count)
    return Interval(middle - half, middle + half)


@pytest.mark.parametrize("name", NAMES)
def test_activations_hold_against_arb(name: str) -> None:
    flint = pytest.importorskip("flint")
    flint.ctx.prec = 120
    arb = flint.arb

    def exact(z: object) -> object:
        if name == "tanh":
            return z.tanh()  # type: ignore[attr-defined]
        if name == "gelu":
            return z * (1 + (z / arb(2).sqrt()).erf()) / 2  # type: ignore[operator]
        low = {"relu": 0.0, "leaky_relu": 0.01, "identity": 1.0}[name]
        return z if z >= 0 else arb(low) * z  # type: ignore[operator]

    def slope(z: object) -> object:
        if name == "tanh":
            return 1 - z.tanh() ** 2  # type: ignore[attr-defined]
        if name == "gelu":
            density = (-(z**2) / 2).exp() / (2 * arb.pi()).sqrt()  # type: ignore[operator]
            return (1 + (z / arb(2).sqrt()).erf()) / 2 + z * density  # type: ignore[operator]
        return arb({"relu": 0.0, "leaky_relu": 0.01, "identity": 1.0}[name]) if z < 0 else arb(1)  # type: ignore[operator]

    z = intervals(400)
    value, rate = function(name).interval(z), derivative(name, z)
    line, offset, error = relaxed(name, z)
    rng = np.random.default_rng(2)
    for k in range(400):
        for p in (z.lo[k], z.hi[k], rng.uniform(z.lo[k], z.hi[k])):
            at = arb(float(p))
            y = exact(at)
            assert arb(value.lo[k]) <= y <= arb(value.hi[k])
            if p != 0:
                assert arb(rate.lo[k]) <= slope(at) <= arb(rate.hi[k])
            assert abs(y - arb(line[k]) * at - arb(offset[k])) <= arb(error[k])  # type: ignore[operator]


def test_the_tails_of_gelu_hold_against_arb() -> None:
    flint = pytest.importorskip("flint")
    flint.ctx.prec = 200
    arb = flint.arb
    z = np.concatenate([np.random.default_rng(6).uniform(-37, 37, 3000), [-1e3, -40.0, 40.0, 1e3, 0.0]])
    value = function("gelu").interval(Interval.of(z))
    for k, p in enumerate(z.tolist()):
        exact = arb(p) * ((-arb(p) / arb(2).sqrt()).erfc()) / 2
        assert arb(value.lo[k]) <= exact <= arb(value.hi[k])


@pytest.mark.parametrize("name", NAMES)
def test_lines_follow_their_activations(name: str) -> None:
    z = intervals()
    line, offset, error = relaxed(name, z)
    width = z.hi - z.lo
    for t in np.linspace(0, 1, 101):
        p = z.lo + t * width
        assert (np.abs(function(name).number(p) - line * p - offset) <= error + 1e-14).all()
    assert (error <= 0.3 * width + 1e-12).all()
    assert (error[width < 1e-3] <= 0.13 * width[width < 1e-3] + 1e-12).all()


@pytest.mark.parametrize("name", NAMES)
def test_networks_are_enclosed(name: str) -> None:
    net, rng = random_network(name), np.random.default_rng(3)
    T = np.array([[1.0, 0.7], [-0.4, 0.5]])
    half, middle = 10.0 ** rng.uniform(-5, 0, (300, 2)), rng.uniform(-1, 1, (300, 2))
    reach = half @ np.abs(T).T * (1 + 1e-12) + 1e-15
    patch = Patch(Interval(middle - reach, middle + reach), Interval.of(middle), half, T)
    form, slopes, value = net.relax(patch), net.enclose_jacobian(patch.hull), net.enclose(patch.hull)
    for k in range(200):
        d = (rng.uniform(-1, 1, half.shape) if k % 2 else rng.choice([-1.0, 1.0], half.shape)) * half
        x = middle + d @ T.T
        u = net(x)
        assert ((value.lo - 1e-12 <= u) & (u <= value.hi + 1e-12)).all()
        assert (np.abs(u - form.value - (form.matrix @ d[..., None])[..., 0]) <= form.radius + 1e-12).all()
        step = (d @ T.T)[:, None]
        low, high = (
            np.minimum(slopes.lo * step, slopes.hi * step).sum(-1),
            np.maximum(slopes.lo * step, slopes.hi * step).sum(-1),
        )
        rise = u - net(middle)
        assert ((low - 1e-12 <= rise) & (rise <= high + 1e-12)).all()
    assert (form.radius <= Law.relax(net, patch).radius + 1e-12).mean() > 0.7


def test_networks_agree_with_their_expression_and_with_rationals() -> None:
    x = np.random.default_rng(4).uniform(-2, 2, (50, 2))
    for name in ("relu", "tanh", "gelu"):
        net = random_network(name)
        assert np.allclose(net(x), np.array([np.array(net.casadi(p)).ravel() for p in x]))
    net = random_network("relu")
    exact = net.exact([Fraction(1, 2), Fraction(-1, 4)])
    assert exact is not None
    assert float(exact[0]) == pytest.approx(net(np.array([0.5, -0.25]))[0], rel=1e-12)


def test_a_network_that_imitates_the_regulator_is_certified() -> None:
    """Saturation as two rectifiers: the same law as the regulator's, so the same set is proved."""
    task = pendulum()
    lqr = LQR(task)
    limit = float(lqr.law.upper[0])
    first = np.vstack([-lqr.K, -lqr.K])
    net = Network(
        (first, np.array([[1.0, -1.0]])), (np.array([limit, -limit]), np.array([-limit])), ("relu", "identity")
    )
    x = np.random.default_rng(5).uniform(-5, 5, (200, 2))
    assert np.allclose(net(x), lqr.law(x))
    assert ClosedLoop(task, net).drift(np.zeros(2))[0]
    certificate = certify(task, net, riccati(task), 22.0)
    assert certificate.is_proved
    assert not certify(task, net, riccati(task), 24.0).is_proved


def test_misuse_is_refused() -> None:
    with pytest.raises(DimensionMismatch):
        Network((np.ones((2, 2)), np.ones((1, 3))), (np.zeros(2), np.zeros(1)), ("relu", "identity"))
    with pytest.raises(DimensionMismatch):
        Network((np.ones((2, 2)),), (np.zeros(2),), ())
    with pytest.raises(InvalidValue):
        Network((np.full((1, 2), np.nan),), (np.zeros(1),), ("relu",))
    with pytest.raises(UnknownName):
        Network((np.ones((1, 2)),), (np.zeros(1),), ("swish",))
