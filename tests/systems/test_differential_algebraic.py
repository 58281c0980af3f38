"""Plants with algebraic signals: a pendulum on a rod against its angle, a diode, and what is not of index 1."""

from __future__ import annotations

import dataclasses
import pickle
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from ctrl import LQR, NotApplicable, simulate
from ctrl.certify import ClosedLoop
from systems import (
    DifferentialAlgebraicPlant,
    DimensionMismatch,
    Discretisation,
    Fixed,
    Inequality,
    InvalidValue,
    Nonlinear,
    Plant,
    Quadratic,
    Radau,
    SetPoint,
    Task,
    Uniform,
    Vector,
    equilibrium,
    linearise,
    lower,
    positive,
    signals,
)
from systems.inputs import delay_inputs, lag_inputs, limit_changes
from systems.newton import SOLVED, eliminate, newton, orthogonalise, solved, where_solved, without_guards


@dataclass(frozen=True)
class Rod(DifferentialAlgebraicPlant):
    """A mass on a rod of fixed length, turned by a torque: the acceleration and the tension of the rod are algebraic.

    Index 1, after the length has been differentiated twice.
    """

    mass: float = positive(0.5)  # kg
    length: float = positive(0.8)  # m
    gravity: float = positive(9.81)  # m/s^2

    state = signals("x [m]", "y [m]", "vx [m/s]", "vy [m/s]")
    algebraic = signals("ax [m/s^2]", "ay [m/s^2]", "tension [N]")
    input = signals("torque [N m]")

    def derivative(self, x: Any, z: Any, u: Any, w: Any) -> Any:
        return x.vx, x.vy, z.ax, z.ay

    def algebraic_equations(self, x: Any, z: Any, u: Any, w: Any) -> Any:
        pull, turn = z.tension / self.length, u.torque / self.length**2
        return (
            self.mass * z.ax + pull * x.x + turn * x.y,
            self.mass * (z.ay + self.gravity) + pull * x.y - turn * x.x,
            x.x * z.ax + x.y * z.ay + x.vx**2 + x.vy**2,
        )


@dataclass(frozen=True)
class Angle(Plant):
    """The same by its angle, from below."""

    mass: float = positive(0.5)
    length: float = positive(0.8)
    gravity: float = positive(9.81)

    state = signals("angle [rad]", "rate [rad/s]")
    input = signals("torque [N m]")

    def ode(self, x: Any, u: Any, w: Any) -> Any:
        inertia = self.mass * self.length**2
        return x.rate, (u.torque - self.mass * self.gravity * self.length * ca.sin(x.angle)) / inertia


@dataclass(frozen=True)
class Diode(DifferentialAlgebraicPlant):
    """A capacitor with a load, charged through a resistor and a diode (Shockley, 1949)."""

    capacity: float = positive(1e-3)  # F
    resistance: float = positive(100.0)  # ohm
    load: float = positive(1000.0)  # ohm
    saturation: float = positive(1e-9)  # A
    thermal: float = positive(0.05)  # V

    state = signals("voltage [V]")
    algebraic = signals("drop [V]")
    input = signals("source [V]")
    newton_iterations = 12

    def derivative(self, x: Any, z: Any, u: Any, w: Any) -> Any:
        return [((u.source - z.drop - x.voltage) / self.resistance - x.voltage / self.load) / self.capacity]

    def algebraic_equations(self, x: Any, z: Any, u: Any, w: Any) -> Any:
        through = (u.source - z.drop - x.voltage) / self.resistance
        return [through - self.saturation * ca.expm1(z.drop / self.thermal)]

    def guess(self, x: Any, u: Any) -> Any:
        forward = u.source - x.voltage
        most = self.thermal * ca.log1p(ca.fmax(forward, 0.0) / self.resistance / self.saturation)
        return [ca.fmin(forward, most)]


def circuit(**changes: Any) -> Task:
    plant = Diode()
    rest = equilibrium(plant, [2.0], [3.0], hold=("voltage",))
    return Task(
        name="diode",
        plant=plant,
        dt=0.05,
        steps=30,
        cost=Quadratic(Q=[1.0], R=[0.1]),
        reference=SetPoint(rest.x.tolist(), rest.u.tolist()),
        initial=Uniform([1.6], [2.2]),
        **changes,
    )


def on_rod(angle: np.ndarray, rate: np.ndarray, length: float = 0.8) -> np.ndarray:
    x, y = length * np.sin(angle), -length * np.cos(angle)
    return np.stack([x, y, -y * rate, x * rate], axis=-1)


@pytest.mark.parametrize(("integrator", "substeps"), [("rk4", 12), (Radau(5, iterations=4), 2)], ids=str)
def test_pendulum_on_a_rod_is_that_of_its_angle(integrator: Any, substeps: int) -> None:
    rod, angle = (Discretisation(plant, 0.05, integrator, substeps).function() for plant in (Rod(), Angle()))
    rng = np.random.default_rng(0)
    turned = rng.uniform(-3, 3, (2, 16))
    state = on_rod(*turned).T
    for k in range(20):
        u = 2.0 * np.cos(rng.uniform(0, 3, (1, 16)) + 0.1 * k)
        state, turned = (np.array(f(z, u, ca.DM(0, 16), ca.DM(0, 16))) for f, z in ((rod, state), (angle, turned)))
    assert state == pytest.approx(on_rod(*turned).T, abs=2e-4)


def test_tension_and_derivatives_of_the_pendulum() -> None:
    """The tension is that of the textbook, and the linearisation that of the pendulum, tangentially."""
    plant, angle, rate = Rod(), 0.7, 1.3
    x = on_rod(np.array(angle), np.array(rate))
    z = plant.algebraic_values(x, [0.4])
    assert z[2] == pytest.approx(0.5 * (9.81 * np.cos(angle) + 0.8 * rate**2), rel=1e-12)
    below = linearise(plant, [0.0, -0.8, 0.0, 0.0], [0.0])
    assert below.A[2, 0] == pytest.approx(-9.81 / 0.8, rel=1e-12)
    assert below.B[2, 0] == pytest.approx(1.0 / 0.5 / 0.8, rel=1e-12)


def test_the_diode_has_the_voltages_that_bisection_finds() -> None:
    plant = Diode()
    for voltage, source in ((0.0, 5.0), (1.0, 1.4), (2.0, 2.0), (3.0, -1.0), (0.0, 40.0)):

        def excess(drop: float, voltage: float = voltage, source: float = source) -> float:
            return float((source - drop - voltage) / 100.0 - 1e-9 * np.expm1(drop / 0.05))

        exact = brentq(excess, min(source - voltage, 0.0) - 1.0, 1.5, xtol=1e-14, rtol=1e-14)
        assert plant.algebraic_values([voltage], [source]) == pytest.approx([exact], abs=1e-10)


def test_the_derivative_is_that_of_the_implicit_function_theorem() -> None:
    plant, x, u = Diode(), 1.0, 1.8
    z = plant.algebraic_values([x], [u])[0]
    g_z = -1.0 / 100.0 - 1e-9 * np.exp(z / 0.05) / 0.05
    z_x = -(-1.0 / 100.0) / g_z
    assert linearise(plant, [x], [u]).A[0, 0] == pytest.approx((-z_x - 1.0) / 0.1 - 1.0, rel=1e-9)


@pytest.mark.parametrize("integrator", ["rk4", Radau(5)], ids=str)
def test_a_sample_is_that_of_scipy(integrator: Any) -> None:
    plant, (x, u) = Diode(), (0.2, 2.5)
    after = Discretisation(plant, 0.02, integrator, 4).function()(x, u, 0, ca.DM(0, 1))
    solve = plant.algebraic_function()

    def rate(t: float, y: np.ndarray) -> list[float]:
        return [(u - float(solve(y, u, 0)[0]) - y[0]) / 0.1 - y[0]]

    reference = solve_ivp(rate, (0.0, 0.02), [x], rtol=1e-10, atol=1e-12).y[0, -1]
    assert float(after) == pytest.approx(reference, abs=1e-7)


def test_costs_and_constraints_read_algebraic_signals() -> None:
    plant = Diode()
    current = Inequality("current", lambda x, u: 1e-9 * ca.expm1(plant.solve_algebraic(x, u).drop / 0.05) - 2e-3)
    cost = Nonlinear(lambda x, u, xr, ur: (x.voltage - xr.voltage) ** 2 + plant.solve_algebraic(x, u).drop ** 2)
    task = dataclasses.replace(circuit(constraints=(current,)), cost=cost)
    drop = plant.algebraic_values([1.8], [2.5])[0]
    margin = 1e-9 * np.expm1(drop / 0.05) - 2e-3
    assert float(task.constraint_functions[0]([1.8], [2.5])) == pytest.approx(margin, rel=1e-9)
    assert float(task.stage_cost([1.8], [2.5], [2.0], [2.6])) == pytest.approx(0.04 + drop**2, rel=1e-9)


def test_lqr_and_simulation_take_it_for_an_ordinary_plant() -> None:
    task = circuit()
    runs = simulate(task, LQR(task), np.array([[1.6], [2.2]]))
    assert runs.stayed.all()
    assert runs.states[:, -1] == pytest.approx(task.reference.at(task.plant, 0)[0] * np.ones((2, 1)), abs=0.05)
    with pytest.raises(NotApplicable, match="algebraic signals, which need Newton's method"):
        ClosedLoop(task, LQR(task).law)


def test_parameters_may_be_symbols() -> None:
    f = Rod().casadi(["length", "mass"])
    x, u = on_rod(np.array(0.4), np.array(-1.0)), 0.3
    assert np.array(f(x, u, 0, [0.8, 0.5])) == pytest.approx(np.array(Rod().casadi()(x, u, 0, 0)), rel=1e-12)
    f = Diode().casadi(["resistance"])
    assert float(f(1.0, 2.0, 0, 50.0)) == pytest.approx(float(Diode(resistance=50.0).casadi()(1.0, 2.0, 0, 0)))
    assert pickle.loads(pickle.dumps(Diode(resistance=5.0))) == Diode(resistance=5.0)


def test_where_newton_does_not_converge_the_plant_is_undefined() -> None:
    @dataclass(frozen=True)
    class Far(Diode):
        newton_iterations = 3

        def guess(self, x: Any, u: Any) -> Any:
            return [1.0]

    assert np.isnan(float(Far().casadi()(0.0, 2.0, 0, 0)))
    with pytest.raises(InvalidValue, match=r"in 3 iterations .*write a better guess"):
        Far().algebraic_values([0.0], [2.0])
    with pytest.raises(InvalidValue, match="task 'diode': plant: Far: Newton's method does not find drop at voltage"):
        dataclasses.replace(circuit(), plant=Far())
    with pytest.raises(InvalidValue, match="task 'diode': truth: Far"):
        circuit(truth=Far())


def test_higher_index_is_refused() -> None:
    @dataclass(frozen=True)
    class Undifferentiated(Rod):
        algebraic = signals("tension [N]")

        def derivative(self, x: Any, z: Any, u: Any, w: Any) -> Any:
            return x.vx, x.vy, -z.tension * x.x, -z.tension * x.y - 9.81

        def algebraic_equations(self, x: Any, z: Any, u: Any, w: Any) -> Any:
            return [x.x**2 + x.y**2 - 1.0]

    with pytest.raises(InvalidValue, match=r"do not determine tension: .*index is higher than 1"):
        Undifferentiated()

    @dataclass(frozen=True)
    class Somewhere(DifferentialAlgebraicPlant):
        """Index 1 except where two rows are the same: at a = 1."""

        state = signals("a [-]")
        algebraic = signals("b [-]", "c [-]")
        input = signals("u [-]")

        def derivative(self, x: Any, z: Any, u: Any, w: Any) -> Any:
            return [z.b - x.a]

        def algebraic_equations(self, x: Any, z: Any, u: Any, w: Any) -> Any:
            return x.a * z.b + z.c - u.u, z.b + z.c

    assert Somewhere().algebraic_values([2.0], [1.0]) == pytest.approx([1.0, -1.0])
    with pytest.raises(InvalidValue, match=r"at a = 1, u = 1: dg/dz is singular"):
        Somewhere().algebraic_values([1.0], [1.0])
    with pytest.raises(InvalidValue, match="task 'somewhere': plant: Somewhere"):
        Task("somewhere", Somewhere(), 0.1, 5, Quadratic([1.0], [1.0]), Fixed([1.0]), reference=SetPoint([2.0]))


def made(**body: Any) -> type:
    own = {
        "state": signals("a [-]"),
        "algebraic": signals("b [-]"),
        "input": signals("u [-]"),
        "derivative": lambda self, x, z, u, w: [z.b - x.a],
        "algebraic_equations": lambda self, x, z, u, w: [z.b + z.b**3 - u.u],
    }
    entries = {name: value for name, value in {**own, **body}.items() if value is not None}
    return dataclass(frozen=True)(type("Made", (DifferentialAlgebraicPlant,), entries))


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ({"algebraic": None}, InvalidValue, "Made.algebraic is None; write algebraic = signals"),
        ({"algebraic": signals()}, InvalidValue, "or derive from Plant"),
        ({"algebraic": signals("a [-]")}, InvalidValue, "a named twice among algebraic and other"),
        ({"derivative": None}, InvalidValue, r"does not define derivative\(x, z, u, w\)"),
        ({"algebraic_equations": None}, InvalidValue, r"does not define algebraic_equations\(x, z, u, w\)"),
        ({"ode": lambda self, x, u, w: [x.a]}, InvalidValue, "defines ode; a plant with algebraic signals defines"),
        ({"newton_iterations": 2}, InvalidValue, "newton_iterations = 2"),
        ({"algebraic_equations": lambda self, x, z, u, w: [z.b, z.b]}, DimensionMismatch, r"expected \(1, 1\)"),
        ({"guess": lambda self, x, u: [0.0, 1.0]}, DimensionMismatch, r"Made.guess returned|<lambda> returned"),
        ({"algebraic_equations": lambda self, x, z, u, w: [z.other]}, Exception, "other"),
        ({"algebraic_equations": lambda self, x, z, u, w: [2.0 * z.b if z.b > 0 else z.b]}, InvalidValue, "if"),
        ({"algebraic_equations": lambda self, x, z, u, w: [x.a - u.u]}, InvalidValue, "index is higher than 1"),
    ],
)
def test_misuse(body: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        made(**body)().casadi()


def test_entries_that_vanish_do_not_look_unsolved() -> None:
    """Rounding leaves something of an entry that is zero, in an equation that has no other terms."""
    a, b, z = ca.SX.sym("a", 3, 3), ca.SX.sym("b", 3), ca.SX.zeros(3)
    _, residual = newton(lambda z: a @ z - b, z, z, 8, orthogonalise)
    function = lower(ca.Function("residual", [a, b], [residual]), to="numpy")
    rng = np.random.default_rng(0)
    for _ in range(100):
        matrix, right = rng.standard_normal((3, 3)), rng.standard_normal(3)
        matrix[2], right[2] = [0.0, matrix[2, 1], 0.0], 0.0
        for kind in (np.float64, np.float32) if np.linalg.cond(matrix) < 30.0 else (np.float64,):
            assert function(matrix.astype(kind), right.astype(kind))[0] <= SOLVED


def test_linear_equations_are_solved_to_rounding() -> None:
    """Of the Hilbert matrix, whose columns are nearly dependent; by elimination, of one with large diagonal entries."""
    n = 6
    hilbert = 1.0 / (1.0 + np.add.outer(np.arange(n), np.arange(n)))
    dominant, right = hilbert + np.diag([1.0, -2.0, 1e5, 3.0, -1e3, 2.0]), np.arange(1.0, n + 1.0)
    a, b = ca.SX.sym("a", n, n), ca.SX.sym("b", n)
    for solve, matrix in ((orthogonalise, hilbert), (orthogonalise, dominant), (eliminate, dominant)):
        z = np.array(ca.Function("solve", [a, b], [solve(a, b)])(matrix, right))[:, 0]
        terms = np.linalg.norm(matrix) * np.linalg.norm(z)
        assert np.linalg.norm(matrix @ z - right) <= 1e-14 * terms


def test_one_equation_that_is_not_solved_is_enough() -> None:
    x, r = ca.SX.sym("x"), ca.SX.sym("r", 2)
    f = ca.Function("f", [x, r], [where_solved(x, r[0]) + where_solved(2.0 * x, r[1])])
    answer = solved(f)
    assert answer is not None
    for residuals in ([0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [np.nan, 0.0]):
        is_solved = max(residuals) == 0.0 and not np.isnan(residuals[0])
        assert float(answer(1.0, residuals)) == is_solved
        assert np.isfinite(float(f(1.0, residuals))) == is_solved
    assert float(without_guards(f)(1.0, [1.0, 1.0])) == 3.0


def test_affine_equations_take_three_iterations() -> None:
    @dataclass(frozen=True)
    class Patient(Rod):
        newton_iterations = 50

    assert Patient().casadi().n_instructions() == Rod().casadi().n_instructions()


def test_vectors_of_algebraic_signals_are_read_by_name() -> None:
    plant = Rod()
    x, u = plant.state.symbol(), plant.input.symbol()
    z = plant.solve_algebraic(Vector(plant.state, x), Vector(plant.input, u))
    assert z.names == ("ax", "ay", "tension")
    value = ca.Function("tension", [x, u], [z.tension])
    assert float(value([0.0, -0.8, 0.0, 0.0], 0.0)) == pytest.approx(0.5 * 9.81)


@pytest.mark.parametrize(("integrator", "substeps"), [("rk4", 3), (Radau(5, iterations=3), 1)], ids=str)
def test_transformations_of_inputs_carry_it(integrator: Any, substeps: int) -> None:
    """A lag, a dead time and a limit on changes, on algebraic equations and an implicit integrator."""
    task = dataclasses.replace(circuit(), integrator=integrator, substeps=substeps)
    late = limit_changes(delay_inputs(lag_inputs(task, {"source": 0.02}), {"source": 0.05}), {"source": 20.0})
    x = np.array([1.8, 2.6, 2.8, 2.7])  # voltage, what acts, the inputs before
    after = np.array(late.dynamics.function()(x, 3.0, 0, 0))[:, 0]
    equations = task.plant.casadi()

    def rates(t: float, y: np.ndarray) -> list[float]:
        return [float(equations(y[0], y[1], 0, 0)), (2.8 - y[1]) / 0.02]

    assert late.plant.state.names == ("voltage", "source_lagged", "source_1_ago", "previous_source")
    reference = solve_ivp(rates, (0.0, 0.05), x[:2], rtol=1e-10, atol=1e-12).y[:, -1]
    assert after[:2] == pytest.approx(reference, abs=5e-4)
    f = late.plant.casadi(["load"])
    assert np.array(f(x, 3.0, 0, 1000.0))[:, 0] == pytest.approx(after, abs=1e-12)


def test_affine_equations_are_sampled_exactly() -> None:
    """A divider of resistors: the voltage between them is algebraic, and what is left is a linear plant."""

    @dataclass(frozen=True)
    class Divider(DifferentialAlgebraicPlant):
        state = signals("voltage [V]")
        algebraic = signals("node [V]")
        input = signals("source [V]")

        def derivative(self, x: Any, z: Any, u: Any, w: Any) -> Any:
            return [(z.node - x.voltage) / 2.0]

        def algebraic_equations(self, x: Any, z: Any, u: Any, w: Any) -> Any:
            return [(u.source - z.node) / 3.0 - z.node / 6.0 - (z.node - x.voltage) / 2.0]

    sampled = Discretisation(Divider(), 0.7, "exact").function()
    rate, rest = (1.0 / 2.0 - 1.0) / 2.0, (1.0 / 3.0) / (1.0 - 0.5)
    decay = np.exp(rate * 0.7)
    assert float(sampled(0.4, 1.0, 0, 0)) == pytest.approx(rest + (0.4 - rest) * decay, rel=1e-12)
