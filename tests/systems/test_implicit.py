"""Implicit Runge-Kutta methods against known answers: their orders, their stability, scipy's Radau, and each other."""

from __future__ import annotations

import dataclasses
import pickle
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from ctrl import LQR, Status, check_task, compare, simulate
from ctrl.foreign import FunctionController
from mpc import NonlinearMPC
from systems import (
    Discretisation,
    Fixed,
    Gauss,
    InvalidValue,
    LinearPlant,
    Plant,
    Quadratic,
    Radau,
    SetPoint,
    Task,
    lower,
    positive,
    signals,
)
from systems.arithmetic.interval import Interval
from systems.discretise import Integrator
from systems.library import cartpole, pendulum, planar_quadrotor, stirred_tank, van_der_pol
from systems.newton import SOLVED

METHODS = (Gauss(2), Gauss(4), Gauss(6), Radau(1), Radau(3), Radau(5))


@dataclass(frozen=True)
class Oscillator(Plant):
    """A pendulum without friction."""

    frequency: float = positive(1.0)  # rad/s

    state = signals("angle [rad]", "rate [rad/s]")
    input = signals("torque [-]")

    def ode(self, x: Any, u: Any, w: Any) -> Any:
        return x.rate, u.torque - self.frequency**2 * ca.sin(x.angle)


@dataclass(frozen=True)
class Reaction(Plant):
    """2 A <-> B, fast, and B -> C, slow; A is fed."""

    fast: float = positive(1e5)
    back: float = positive(1e5)
    slow: float = positive(0.1)

    state = signals("a [mol/l]", "b [mol/l]", "c [mol/l]")
    input = signals("feed [mol/l/s]")

    def ode(self, x: Any, u: Any, w: Any) -> Any:
        forward = self.fast * x.a**2 - self.back * x.b
        return u.feed - 2.0 * forward, forward - self.slow * x.b, self.slow * x.b

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"feed": (-1.0, 1.0)}


def step(plant: Plant, dt: float, integrator: Integrator, x: Any, u: Any = 0.0, substeps: int = 1) -> np.ndarray:
    after = Discretisation(plant, dt, integrator, substeps).function()(x, u, 0, ca.DM(0, 1))
    return np.array(after)[:, 0]


def scalar(rate: float) -> LinearPlant:
    return LinearPlant([[rate]], [[0.0]])


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_order_of_convergence(method: Any) -> None:
    plant, x = Oscillator(), np.array([1.0, 0.5])
    reference = solve_ivp(
        lambda t, y: [y[1], 0.2 - np.sin(y[0])], (0.0, 2.0), x, method="DOP853", rtol=1e-13, atol=1e-14
    ).y[:, -1]
    coarse, fine = (6, 12) if method.order > 4 else (16, 32)
    errors = [np.abs(step(plant, 2.0, method, x, 0.2, n) - reference).max() for n in (coarse, fine)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(method.order, abs=0.35)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_stability_function_is_the_pade_approximation(method: Any) -> None:
    """Gauss: the diagonal approximation of exp; Radau IIA: the subdiagonal one (Hairer & Wanner, 1996, IV.5)."""
    s = len(method.nodes)
    top = s if isinstance(method, Gauss) else s - 1
    numbers = [np.prod(np.arange(1, k + 1), dtype=float) for k in range(2 * s + 2)]

    def binomial(n: int, k: int) -> float:
        return float(numbers[n] / numbers[k] / numbers[n - k])

    for z in (-0.3, -5.0, -40.0, 0.2):
        up = sum(binomial(top, k) * numbers[s + top - k] / numbers[s + top] * z**k for k in range(top + 1))
        down = sum(binomial(s, k) * numbers[s + top - k] / numbers[s + top] * (-z) ** k for k in range(s + 1))
        assert step(scalar(z), 1.0, method, [1.0])[0] == pytest.approx(up / down, rel=1e-11)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_stability_on_the_dahlquist_problem(method: Any) -> None:
    """A-stable: nothing in the left half-plane grows. L-stable: what is infinitely fast has decayed after a step."""
    for angle in np.linspace(0.5, 1.0, 6) * np.pi:
        for size in (0.1, 1.0, 30.0, 1e4):
            a, b = size * np.cos(angle), size * np.sin(angle)
            matrix = np.array([[a, -b], [b, a]])
            plant = LinearPlant(matrix, np.zeros((2, 1)))
            grown = np.hypot(*step(plant, 1.0, method, [1.0, 0.0]))
            assert grown <= 1.0 + 1e-12
    left = abs(step(scalar(-1e9), 1.0, method, [1.0])[0])
    assert left < 1e-8 if isinstance(method, Radau) else left > 0.99


@pytest.mark.parametrize("method", [Gauss(2), Gauss(4), Gauss(6)], ids=str)
def test_gauss_is_symplectic(method: Any) -> None:
    """Energy of a linear oscillator is conserved, and areas of phase space by any step of a nonlinear one."""
    linear = LinearPlant([[0.0, 1.0], [-4.0, 0.0]], [[0.0], [0.0]])
    x = step(linear, 200.0, method, [1.0, 0.0], substeps=400)
    assert 4.0 * x[0] ** 2 + x[1] ** 2 == pytest.approx(4.0, rel=1e-12)
    F = Discretisation(Oscillator(), 0.5, method).function()
    x, _u, _w, p = F.sx_in()
    slopes = ca.Function("slopes", [x], [ca.jacobian(F(x, 0, 0, p), x)])
    assert np.linalg.det(np.array(slopes([1.2, -0.4]))) == pytest.approx(1.0, abs=1e-13)
    assert abs(np.linalg.det(np.array(_slopes(Radau(3))([1.2, -0.4]))) - 1.0) > 1e-4


def _slopes(method: Any) -> ca.Function:
    F = Discretisation(Oscillator(), 0.5, method).function()
    x, *_ = F.sx_in()
    return ca.Function("slopes", [x], [ca.jacobian(F(x, 0, 0, ca.SX(0, 1)), x)])


@pytest.mark.parametrize("dt", [1e-6, 1e-4, 1e-2, 1.0, 10.0])
def test_stiff_reaction_is_that_of_scipy(dt: float) -> None:
    """From a state at which the fast reaction has settled, and the feed begins to work."""
    x, plant = np.array([0.6, 0.36, 0.0]), Reaction()
    F = plant.casadi()
    reference = solve_ivp(
        lambda t, y: np.array(F(y, 0.02, 0, ca.DM(0, 1)))[:, 0], (0.0, dt), x, method="Radau", rtol=1e-11, atol=1e-13
    ).y[:, -1]
    after = step(plant, dt, Radau(5), x, 0.02, substeps=8)
    assert np.abs(after - reference).max() < 1e-6
    assert after[0] + 2.0 * (after[1] + after[2]) == pytest.approx(0.6 + 0.72 + 0.02 * dt, abs=1e-12)  # matter
    assert np.abs(step(plant, dt, "rk4", x, 0.02, substeps=8) - reference).max() < 1e-6 or dt > 1e-5


def test_linear_plants_are_solved_at_once_and_stay_linear() -> None:
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((3, 3)) * [[1.0], [30.0], [1.0]], rng.standard_normal((3, 1))
    plant = LinearPlant(A, B)
    dynamics = Discretisation(plant, 0.05, Radau(5), 8)
    F = dynamics.function()
    x, u, w, p = F.sx_in()
    assert not ca.symvar(ca.jacobian(F(x, u, w, p), ca.vertcat(x, u)))  # what linear controllers ask
    block = expm(0.05 * np.block([[A, B], [np.zeros((1, 4))]]))[:3]
    start = [1.0, -1.0, 0.5, 0.3]
    assert step(plant, 0.05, Radau(5), start[:3], start[3], 8) == pytest.approx(block @ start, abs=1e-9)
    assert float(dynamics.residual()(start[:3], 0.3, 0, ca.DM(0, 1))) == 0.0


def test_derivatives_are_those_of_the_stage_equations() -> None:
    """The implicit function theorem, by hand, for the implicit midpoint rule."""
    h, x = 0.7, np.array([1.2, -0.4])
    y = step(Oscillator(), h, Gauss(2), x)
    middle = np.array([[0.0, 1.0], [-np.cos((x + y)[0] / 2), 0.0]])
    exact = np.linalg.solve(np.eye(2) - h / 2 * middle, np.eye(2) + h / 2 * middle)
    F = Discretisation(Oscillator(), h, Gauss(2)).function()
    z, *_ = F.sx_in()
    slope = ca.Function("slope", [z], [ca.jacobian(F(z, 0, 0, ca.SX(0, 1)), z)])
    assert np.array(slope(x)) == pytest.approx(exact, abs=1e-12)


def test_what_does_not_converge_is_undefined_and_says_so() -> None:
    """A fast quadratic reaction from far away: Newton's method halves its error, and three iterations are too few."""
    dynamics, x = Discretisation(Reaction(), 1.0, Radau(3, iterations=3)), [1.0, 0.0, 0.0]
    none = ca.DM(0, 1)
    assert np.isnan(step(Reaction(), 1.0, Radau(3, iterations=3), x)).all()
    assert float(dynamics.residual()(x, 0, 0, none)) > SOLVED
    more = dataclasses.replace(dynamics, integrator=Radau(3, iterations=14))
    assert float(more.residual()(x, 0, 0, none)) < 1e-10
    assert np.isfinite(np.array(more.function()(x, 0, 0, none))).all()
    assert float(Discretisation(Reaction(), 1.0).residual()(x, 0, 0, none)) == 0.0
    late = dataclasses.replace(dynamics, substeps=3)  # one substep that fails is enough
    assert np.isnan(np.array(late.function()(x, 0, 0, none))).all()
    assert late.solved is not None
    assert dynamics.solved is not None
    assert more.solved is not None
    assert [float(d.solved(x, 0, 0, none)) for d in (dynamics, late, more)] == [0.0, 0.0, 1.0]
    assert Discretisation(Reaction(), 1.0).solved is None
    assert float(late.residual()(x, 0, 0, none)) > SOLVED


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_convergence_does_not_depend_on_units(scale: float) -> None:
    """The same reaction in other units of concentration needs the same iterations."""
    plant = Reaction(fast=1e5 / scale)
    results = []
    for iterations in range(3, 12):
        dynamics = Discretisation(plant, 1.0, Radau(3, iterations=iterations))
        results.append(float(dynamics.residual()(scale * np.array([1.0, 0.0, 0.0]), 0, 0, ca.DM(0, 1))))
    plain = Discretisation(Reaction(), 1.0, Radau(3, iterations=8))
    assert results[5] == pytest.approx(float(plain.residual()([1.0, 0.0, 0.0], 0, 0, ca.DM(0, 1))), rel=1e-6)


def test_rest_is_kept_to_rounding() -> None:
    """Where forces cancel, the terms of the equations say what is small, not what is left of them."""
    plant = Oscillator(frequency=3.3)
    u = 3.3**2 * np.sin(0.3)
    for method in METHODS:
        assert step(plant, 0.1, method, [0.3, 0.0], u) == pytest.approx([0.3, 0.0], abs=1e-14)


def test_every_arithmetic_has_them() -> None:
    torch = pytest.importorskip("torch")
    dynamics = Discretisation(Oscillator(), 0.4, Radau(3, iterations=4))
    rng = np.random.default_rng(1)
    x, u = rng.uniform(-2, 2, (50, 2)), rng.uniform(-1, 1, (50, 1))
    w, p = np.zeros((50, 0)), np.zeros(0)
    numbers = dynamics.lower("numpy")(x, u, w, p)
    assert numbers[0] == pytest.approx(step(Oscillator(), 0.4, Radau(3), x[0], u[0]), abs=1e-14)
    tensors = dynamics.lower("torch")(*(torch.tensor(a) for a in (x, u, w, p)))
    assert tensors.numpy() == pytest.approx(numbers, abs=1e-13)
    single = dynamics.lower("torch")(*(torch.tensor(a, dtype=torch.float32) for a in (x, u, w, p)))
    assert single.numpy() == pytest.approx(numbers, abs=1e-5)
    boxes = dynamics.lower("interval")
    small = boxes(Interval(x - 1e-9, x + 1e-9), Interval(u, u), Interval(w, w), Interval(p, p))
    inside = (small.lo <= numbers) & (numbers <= small.hi)
    assert inside.all()
    assert (small.hi - small.lo).max() < 1e-5
    assert small.undefined is None or not small.undefined.any()


def test_boxes_on_which_convergence_is_not_proved_are_undefined() -> None:
    dynamics = Discretisation(Reaction(), 1.0, Radau(3, iterations=3))
    boxes = dynamics.lower("interval")
    x = np.array([[1.0, 0.0, 0.0]])
    empty = Interval(np.zeros((1, 0)), np.zeros((1, 0)))
    enclosed = boxes(Interval(x, x), Interval(np.zeros((1, 1)), np.zeros((1, 1))), empty, empty)
    assert enclosed.undefined is not None
    assert enclosed.undefined.all()


def test_single_precision_reaches_what_it_asks_for() -> None:
    """Learners simulate in 32 bits."""
    dynamics = Discretisation(Reaction(), 0.5, Radau(3, iterations=8))
    x = np.random.default_rng(2).uniform(0.1, 1.0, (200, 3))
    x[:, 1] = x[:, 0] ** 2
    wide, narrow = (
        dynamics.lower("numpy")(x.astype(kind), np.zeros((200, 1), kind), np.zeros((200, 0), kind), np.zeros(0, kind))
        for kind in (np.float64, np.float32)
    )
    assert np.isfinite(narrow).all()
    assert narrow == pytest.approx(wide, abs=2e-5)


@pytest.mark.parametrize("task", [cartpole(), pendulum(), planar_quadrotor(), stirred_tank(), van_der_pol()], ids=str)
def test_plants_of_the_library_are_solved_at_rest_and_elsewhere(task: Task) -> None:
    """At rest most terms cancel or vanish, which must not look like a failure; in 32 bits neither."""
    plant, rng = task.plant, np.random.default_rng(3)
    dynamics = Discretisation(plant, task.dt, Radau(3), task.substeps)
    x_ref, u_ref = task.reference.at(plant, 0)
    x = np.vstack([x_ref, task.initial.sample(plant.state, rng, (50,))])
    lower_bound, upper_bound = (np.where(np.isfinite(b), b, s) for b, s in zip(task.input_bounds, (-1, 1), strict=True))
    u = np.vstack([u_ref, rng.uniform(lower_bound, upper_bound, (50, len(u_ref)))])
    fine = Discretisation(plant, task.dt, "rk4", 8 * task.substeps).lower("numpy")
    step = dynamics.lower("numpy")
    for kind in (np.float64, np.float32):
        given = [a.astype(kind) for a in (x, u, np.zeros((51, len(plant.disturbance))), np.zeros(0))]
        after = step(*given)
        assert after.dtype == kind
        assert after == pytest.approx(fine(*given), rel=1e-3, abs=1e-3)


def test_controllers_and_loops_survive_what_is_not_solved() -> None:
    """The run ends where the plant is undefined; a controller whose model is undefined says so and gives an input."""
    task = Task(
        "reaction", Reaction(), 1.0, 5, Quadratic([1.0, 1.0, 0.0], [1.0]), Fixed([1.0, 0.0, 0.0]),
        reference=SetPoint([0.0, 0.0, 0.0]), integrator=Radau(3, iterations=3),
    )  # fmt: skip
    mpc = NonlinearMPC(task, 5)
    decision = mpc.step(np.array([1.0, 0.0, 0.0]), 0)
    assert decision.status is not Status.SOLVED
    assert np.isfinite(decision.input).all()
    runs = simulate(task, mpc, np.array([[1.0, 0.0, 0.0]]))
    assert runs.left[0] == 1
    assert runs.unsolved is not None
    assert runs.unsolved.tolist() == [True]
    assert np.isfinite(runs.states).all()
    compared = compare(task, {"fixed": FunctionController(task, lambda x: np.zeros(1))}, starts=2, workers=1)
    assert "1/1 runs left the domain, in 1 of them equations of the plant were not solved" in " ".join(
        str(compared).split()
    )
    env = task.env()
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(np.zeros(1, dtype=np.float32))
    assert terminated
    assert reward == pytest.approx(-100.0)  # the remaining samples, all of them where the run stopped
    assert info["state"].tolist() == [1.0, 0.0, 0.0]
    enough = dataclasses.replace(task, integrator=Radau(3, iterations=14))
    runs = simulate(enough, FunctionController(enough, lambda x: np.zeros(1)), np.array([[1.0, 0.0, 0.0]]))
    assert runs.unsolved is not None
    assert runs.unsolved.tolist() == [False]
    assert simulate(cartpole(), LQR(cartpole()), np.zeros((1, 4))).unsolved is None
    assert "were not solved by Newton's method" in str(check_task(task))


def test_methods_are_values() -> None:
    assert Radau() == Radau(5) != Radau(3)
    assert Radau(3) != Gauss(4)
    assert pickle.loads(pickle.dumps(Gauss(6))) == Gauss(6)
    assert str(Discretisation(Oscillator(), 0.1, Radau(3), 2)) == "Radau of order 3 x 2, 0.1 s"
    assert lower(Discretisation(Oscillator(), 0.1, Radau(3)).function(["frequency"]), to="numpy")(
        np.zeros(2), np.ones(1), np.zeros(0), np.ones(1)
    ) == pytest.approx(step(Oscillator(), 0.1, Radau(3), [0.0, 0.0], 1.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gauss(3), "Gauss: order = 3; expected 2, 4 or 6"),
        (lambda: Radau(2), "expected 1, 3 or 5"),
        (lambda: Radau("5"), "expected 1, 3 or 5"),  # type: ignore[arg-type]
        (lambda: Radau(True), "expected 1, 3 or 5"),
        (lambda: Radau(5, iterations=2), "iterations = 2; expected a whole number of at least 3"),
        (lambda: Discretisation(Oscillator(), 0.1, "radau"), "or an implicit method, such as Radau"),  # type: ignore[arg-type]
        (lambda: Discretisation(Oscillator(), 0.1, Radau), "or an implicit method, such as Radau"),  # type: ignore[arg-type]
    ],
)
def test_misuse(make: Any, message: str) -> None:
    with pytest.raises(InvalidValue, match=message.replace("(", r"\(")):
        make()
