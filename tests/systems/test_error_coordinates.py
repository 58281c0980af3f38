"""Tasks in error coordinates against quaternion algebra written out, and against the plant they were made from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import casadi as ca
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from systems import (
    Box,
    Fixed,
    Gaussian,
    InvalidValue,
    Nonlinear,
    Observation,
    Plant,
    Polytope,
    Quadratic,
    SetPoint,
    Sinusoid,
    Task,
    Uniform,
    UnknownName,
    Vector,
    quaternion,
    signals,
)
from systems import in_error_coordinates as errors_of
from systems.library import quadrotor, quadrotor_error_coordinates

ATTITUDES = [sign * unit for unit in np.eye(4) for sign in (1.0, -1.0)]
NAMES = ("qw", "qx", "qy", "qz")


def in_error_coordinates(task: Task, *quaternions) -> Task:
    return errors_of(task, *(quaternions or (NAMES,)))


def product(p, q) -> np.ndarray:
    """Hamilton's product of quaternions (..., 4), scalar part first."""
    (a, v), (b, w) = ((z[..., 0], z[..., 1:]) for z in (np.asarray(p, float), np.asarray(q, float)))
    vector = a[..., None] * w + b[..., None] * v + np.cross(v, w)
    return np.concatenate([(a * b - (v * w).sum(axis=-1))[..., None], vector], axis=-1)


def error(q_ref: np.ndarray, q: np.ndarray) -> np.ndarray:
    return product(q_ref * np.array([1.0, -1, -1, -1]), q)[..., 1:]


@dataclass(frozen=True)
class Body(Plant):
    """A rigid body that turns, and something beside it."""

    drift: float = 0.0

    state = signals("height [m]", "qw", "qx", "qy", "qz", "a [rad/s]", "b [rad/s]", "c [rad/s]")
    input = signals("ta", "tb", "tc")
    disturbance = signals("push")

    def ode(self, x, u, w):
        return (
            x.a * x.qy + w.push,
            0.5 * (-x.qx * x.a - x.qy * x.b - x.qz * x.c) + self.drift * x.qw,
            0.5 * (x.qw * x.a + x.qy * x.c - x.qz * x.b) + self.drift * x.qx,
            0.5 * (x.qw * x.b + x.qz * x.a - x.qx * x.c) + self.drift * x.qy,
            0.5 * (x.qw * x.c + x.qx * x.b - x.qy * x.a) + self.drift * x.qz,
            u.ta + 0.3 * x.b * x.c - ca.sin(x.height),
            u.tb - 0.2 * x.a * x.c,
            u.tc,
        )

    def limits(self):
        return {"ta": (-1.0, 2.0)}


def body(q_ref: np.ndarray = ATTITUDES[0], **changes) -> Task:
    at = np.concatenate([[0.0], q_ref, np.zeros(3)])
    task = Task(
        name="body",
        plant=Body(),
        dt=0.05,
        steps=10,
        cost=Nonlinear(
            lambda x, u, xr, ur: ca.sumsqr(x.column - xr.column) * (1 + u.ta**2), lambda x, xr: (x.qw - xr.qw) ** 2
        ),
        initial=Fixed(at),
        reference=SetPoint(at, [0.1, 0.0, 0.0]),
        constraints=(
            Box("low", {"height": (-1.0, 1.0)}),
            Polytope("upright", ["qx", "qy"], [[1.0, 2.0]], [0.3]).soft(3.0),
        ),
    )
    return replace(task, **changes)


def near(q_ref: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """States (count, 8) of unit quaternions within half a turn of an attitude."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 8))
    e = rng.uniform(-0.5, 0.5, (count, 3))
    x[:, 1:5] = product(q_ref, np.column_stack([np.sqrt(1 - (e**2).sum(axis=1)), e]))
    return x


@pytest.mark.parametrize("q_ref", ATTITUDES)
def test_the_error_is_the_vector_part_of_the_turn_from_the_reference(q_ref: np.ndarray) -> None:
    task = in_error_coordinates(body(q_ref))
    plant, x = task.plant, near(q_ref, 20)
    z = plant.reduced(x)
    assert z.shape == (20, 7)
    by_name = dict(zip(plant.state.names, z.T, strict=True))
    for name in ("height", "a", "b", "c"):
        assert np.array_equal(by_name.pop(name), x[:, Body.state.where(name)])
    errors = np.array(list(by_name.values()))
    assert np.allclose(errors, error(q_ref, x[:, 1:5]).T, atol=1e-15)
    symbols = plant.state.symbol()
    whole = ca.Function("whole", [symbols], [plant.whole(Vector(plant.state, symbols, "state")).column])
    assert np.allclose(np.array([np.array(whole(a)).ravel() for a in z]), x, atol=1e-14)
    x_ref, u_ref = task.reference.at(plant, 0)
    assert np.array_equal(x_ref, np.zeros(7))
    assert np.array_equal(u_ref, [0.1, 0.0, 0.0])
    assert plant.bounds[1][0] == 2.0


@pytest.mark.parametrize("q_ref", ATTITUDES[::3])
def test_motions_are_those_of_the_plant(q_ref: np.ndarray) -> None:
    """Integrated by scipy in four components and in three, under the same input and disturbance."""
    plant = in_error_coordinates(body(q_ref)).plant
    u, w = np.array([0.4, -0.3, 0.2]), np.array([0.1])
    x = near(q_ref, 1, seed=3)[0]
    x[5:] *= 0.3
    full, error_ode = Body().casadi(), plant.casadi()

    def run(f: ca.Function, start: np.ndarray) -> np.ndarray:
        found = solve_ivp(lambda _, y: np.array(f(y, u, w, [])).ravel(), (0, 0.7), start, rtol=1e-10, atol=1e-12)
        return found.y[:, -1]

    assert np.allclose(run(error_ode, plant.reduced(x)), plant.reduced(run(full, x)), atol=1e-8)


@pytest.mark.parametrize("q_ref", ATTITUDES[1::3])
def test_costs_constraints_and_observations_mean_what_they_did(q_ref: np.ndarray) -> None:
    shown = Observation(signals("tilt"), lambda x, xr: (x.qz - xr.qz + 2 * x.qw,))
    task = body(q_ref, observation=shown, truth=Body(drift=0.0))
    other = in_error_coordinates(task)
    assert other.truth.plant == task.truth
    u, x_ref = np.array([0.3, 0.1, -0.2]), task.reference.at(task.plant, 0)[0]
    for x in near(q_ref, 5):
        z = other.plant.reduced(x)
        charged = [float(t.stage_cost(a, u, r, u)) for t, a, r in ((task, x, x_ref), (other, z, np.zeros(7)))]
        assert charged[1] == pytest.approx(charged[0], abs=1e-13)
        ends = [float(t.terminal_cost(a, r)) for t, a, r in ((task, x, x_ref), (other, z, np.zeros(7)))]
        assert ends[1] == pytest.approx(ends[0], abs=1e-13)
        for before, after in zip(task.constraints, other.constraints, strict=True):
            assert (after.name, after.requirement) == (before.name, before.requirement)
            g = before.function(task.plant)(x, u), after.function(other.plant)(z, u)
            assert np.allclose(*map(np.array, g), atol=1e-14)
        seen = [np.array(t.observe_function()(a, r)).ravel() for t, a, r in ((task, x, x_ref), (other, z, np.zeros(7)))]
        assert np.allclose(*seen, atol=1e-14)
    assert isinstance(other.constraints[0], Box)


@pytest.mark.parametrize("q_ref", ATTITUDES[::3])
def test_quadratic_costs_stay_quadratic_where_they_can(q_ref: np.ndarray) -> None:
    along = int(np.argmax(np.abs(q_ref)))
    weight = np.diag(np.arange(1.0, 9.0))
    weight[0, 6] = weight[6, 0] = weight[2, 3] = weight[3, 2] = 0.7
    weight[1 + along] = weight[:, 1 + along] = 0.0
    other = in_error_coordinates(body(q_ref, cost=Quadratic(weight, np.eye(3), 2 * weight)))
    assert isinstance(other.cost, Quadratic)
    x_ref = body(q_ref).reference.at(Body(), 0)[0]
    for x in near(q_ref, 4):
        z, u = other.plant.reduced(x), np.ones(3)
        expected = (x - x_ref) @ weight @ (x - x_ref)
        assert float(other.terminal_cost(z, np.zeros(7))) == pytest.approx(2 * expected)
        assert float(other.stage_cost(z, u, np.zeros(7), u)) == pytest.approx(expected)
    weight[1 + along, 1 + along] = 1.0
    assert not isinstance(in_error_coordinates(body(q_ref, cost=Quadratic(weight, np.eye(3)))).cost, Quadratic)
    assert not isinstance(
        in_error_coordinates(body(q_ref, cost=Quadratic(0 * weight, np.eye(3), weight))).cost, Quadratic
    )


def test_starts_domains_and_tolerances_are_mapped_with_their_signs() -> None:
    q_ref = np.array([0.0, 0.0, -1.0, 0.0])  # -j, for which e = (qz, qw, -qx) up to the signs below
    low, high = np.arange(8.0) * 0.01 - 0.3, np.arange(8.0) * 0.02 + 0.1
    low[3], high[3] = -1.0, 0.0
    bounds = {name: (a, b) for name, a, b in zip(Body.state.names, low.tolist(), high.tolist(), strict=True)}
    task = body(
        q_ref,
        initial=Uniform(low, high),
        domain=Box("here", bounds),
        tolerance=np.arange(1.0, 9.0),
    )
    other = in_error_coordinates(task)
    state = other.plant.state
    for sample in np.random.default_rng(1).uniform(low, high, (50, 8)):
        z = other.plant.reduced(sample)
        for least, most in (other.initial.support(state), other.domain_bounds):
            assert (z >= least - 1e-15).all()
            assert (z <= most + 1e-15).all()
    widths = [np.subtract(*reversed(pair)) for pair in (other.initial.support(state), other.domain_bounds)]
    kept = [i for i, _, _ in other.plant.kept]
    assert np.allclose(widths, (high - low)[kept])
    assert np.array_equal(other.arrival, np.arange(1.0, 9.0)[kept])
    assert other.domain.name == "here"
    drawn = in_error_coordinates(replace(task, initial=Gaussian(np.arange(8.0), np.full(8, 0.1)))).initial
    assert np.allclose(np.diag(drawn.covariance(state)), np.arange(8.0)[kept] ** 2)
    assert np.allclose(drawn.mean(state), other.plant.reduced(np.full(8, 0.1)))
    free = in_error_coordinates(replace(task, domain=None, tolerance=None))
    assert free.domain.bounds == {name: (-0.57, 0.57) for name in state.names if name.endswith("_error")}


@pytest.mark.parametrize("drift", [1e-15, -1.0])
def test_a_norm_that_is_not_kept_is_refused(drift: float) -> None:
    with pytest.raises(InvalidValue, match=r"Body changes the norm of \(qw, qx, qy, qz\) where it is 1"):
        in_error_coordinates(body(plant=Body(drift=drift)))


@dataclass(frozen=True)
class Shaken(Body):
    """Its attitude turns at a rate that is not rational."""

    off: float = 0.0

    def ode(self, x, u, w):
        rate = list(super().ode(x, u, w))
        s = ca.exp(x.height)
        rate[1] += -0.5 * x.qx * s
        rate[2] += 0.5 * x.qw * s + self.off * x.qx * s
        rate[3] += 0.5 * x.qz * s
        rate[4] -= 0.5 * x.qy * s
        return rate


def test_equations_that_are_not_rational_keep_the_norm_whatever_they_are() -> None:
    assert in_error_coordinates(body(plant=Shaken())).plant.state.names[1] == "qx_error"
    with pytest.raises(InvalidValue, match="changes the norm"):
        in_error_coordinates(body(plant=Shaken(off=1e-9)))


@dataclass(frozen=True)
class Hidden(Body):
    """The norm grows in a small region alone."""

    shape: str = "kink"

    def ode(self, x, u, w):
        rate = list(super().ode(x, u, w))
        away = (x.a - 0.3) ** 2 + (x.b - 0.2) ** 2
        grown = {"kink": ca.fmax(0, 1e-3 - away), "bell": ca.exp(-1e5 * away), "root": ca.sqrt(away + 1) - 1}[
            self.shape
        ]
        rate[1] += grown * x.qw
        return rate


@pytest.mark.parametrize("shape", ["kink", "bell", "root"])
def test_a_norm_that_grows_where_no_sample_falls_is_refused(shape: str) -> None:
    with pytest.raises(InvalidValue, match="changes the norm"):
        in_error_coordinates(body(plant=Hidden(shape=shape)))
    with pytest.raises(InvalidValue, match="changes the norm"):
        in_error_coordinates(body(truth=Hidden(shape=shape)))


@dataclass(frozen=True)
class Normalised(Body):
    def ode(self, x, u, w):
        rate, q = list(super().ode(x, u, w)), (x.qw, x.qx, x.qy, x.qz)
        norm = ca.sqrt(sum(a**2 for a in q))
        for i, a in enumerate(q):
            rate[1 + i] += (1 / norm - norm**3) * a
        return rate


def test_terms_that_restore_the_norm_vanish_on_it() -> None:
    assert len(in_error_coordinates(body(plant=Normalised())).plant.state) == 7


@dataclass(frozen=True)
class Declared(Plant):
    state = signals("angle", *quaternion("w", "x", "y", "z"))
    input = signals("u")

    def ode(self, x, u, w):
        return u.u, -0.5 * x.x * u.u, 0.5 * x.w * u.u, 0.5 * x.z * u.u, -0.5 * x.y * u.u


def test_declared_quaternions_need_no_names() -> None:
    at = [0.0, 1.0, 0, 0, 0]
    task = Task("spin", Declared(), 0.1, 5, Quadratic([1, 0, 1, 1, 1], [1]), Fixed(at), reference=SetPoint(at))
    assert errors_of(task).plant.state.names == ("angle", "x_error", "y_error", "z_error")
    assert errors_of(task) == errors_of(task, ("w", "x", "y", "z"))
    assert not errors_of(task).plant.state.quaternions


@dataclass(frozen=True)
class Stepped(Plant):
    dt: float = 0.1
    state = signals("qw", "qx", "qy", "qz")
    input = signals("u")

    def step(self, x, u, w):
        return x.column + 0 * u.u


def test_what_has_no_error_coordinates_is_refused_in_words() -> None:
    task = body()
    with pytest.raises(InvalidValue, match="the reference moves"):
        in_error_coordinates(
            replace(task, reference=Sinusoid(1.0, x_mean=[0, 1, 0, 0, 0, 0, 0, 0], x_sine={"height": 1}))
        )
    with pytest.raises(InvalidValue, match="expected one component of 1 or -1"):
        in_error_coordinates(replace(task, reference=SetPoint([0, 0.6, 0.8, 0, 0, 0, 0, 0])))
    with pytest.raises(InvalidValue, match="expected unit quaternions of four states"):
        in_error_coordinates(task, ("qw", "qx", "qy"))
    with pytest.raises(InvalidValue, match="expected unit quaternions of four states"):
        in_error_coordinates(task, ("qw", "qx", "qy", "qz"), ("qw", "a", "b", "c"))
    with pytest.raises(UnknownName):
        in_error_coordinates(task, ("qw", "qx", "qy", "q"))
    with pytest.raises(InvalidValue, match="expected unit quaternions"):
        errors_of(quadrotor())
    with pytest.raises(InvalidValue, match="its domain confines qw"):
        in_error_coordinates(replace(task, domain=Box("d", {"qw": (0.5, 1.5)})))
    with pytest.raises(InvalidValue, match="its domain confines qw"):
        in_error_coordinates(replace(task, domain=Box("d", {"qw": (-1.0, 0.99)})))
    discrete = Task(
        name="stepped", plant=Stepped(), dt=0.1, steps=5, cost=Quadratic([0, 1, 1, 1], [1]),
        initial=Fixed([1, 0, 0, 0]), reference=SetPoint([1, 0, 0, 0]),
    )  # fmt: skip
    with pytest.raises(InvalidValue, match="Stepped is discrete by nature"):
        in_error_coordinates(discrete)


def test_the_quadrotor_has_twelve_states() -> None:
    task = quadrotor_error_coordinates()
    assert task.plant.state.names[3:6] == ("qx_error", "qy_error", "qz_error")
    assert len(task.plant.state) == 12
    assert task.name == "quadrotor-error-coordinates"
    assert task == quadrotor_error_coordinates()
