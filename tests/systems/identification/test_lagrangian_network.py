"""Lagrangian networks: what their structure implies for any weights, and what they learn of an arm with a load."""

from __future__ import annotations

import dataclasses
import itertools

import casadi as ca
import numpy as np
import pytest
import torch

from benchmarks.lagrangian_networks import ARMS, DT, HORIZON, WINDOW, figures, measured, models
from systems import DimensionMismatch, Discretisation, InvalidValue, TriviumError, Uniform, signals
from systems.identification import LagrangianFit, LagrangianNetwork, LagrangianPlant, Runs, fit_lagrangian, validate
from systems.identification.lagrangian_energies import Energies
from systems.identification.lagrangian_network import between
from systems.identification.lagrangian_training import errors_at, mass_and_force, sample_error
from systems.library.two_link_arm import TwoLinkArm, two_link_arm

ARM = TwoLinkArm()


def true_terms() -> ca.Function:
    """Those of the arm, with the payload as context."""
    q, c = ca.SX.sym("q", 2), ca.SX.sym("c", 1)
    return ca.Function("terms", [q, c], list(dataclasses.replace(ARM, payload=c[0]).energies(q)))


def true_plant(payload: float) -> LagrangianPlant:
    return LagrangianPlant(true_terms(), ARM.state, ARM.input, np.eye(2), np.full(2, ARM.damping), context_1=payload)


def any_energies(seed: int, size: float = 1.0, contexts: int = 2) -> Energies:
    """Of a slider and a joint, with random weights."""
    angles, scale = np.array([False, True]), np.array([1.5, 0.6])
    middle, width = np.array([0.2, 0.0]), np.array([0.7, 1.0])
    made = Energies(angles, middle, width, scale, 3.0, scale, contexts, (7, 5), True, np.zeros(0))
    return made.replace(size * made.first(seed))


def plant_of(energies: Energies, friction: bool = True, **context: float) -> LagrangianPlant:
    return LagrangianPlant(
        energies.terms(),
        signals("place [m]", "angle [rad]", "speed [m/s]", "rate [rad/s]"),
        signals("force [N]"),
        np.array([[1.0], [0.5]]),
        energies.friction() if friction else np.zeros(2),
        **context,
    )


@pytest.mark.parametrize("payload", [0.0, 1.3])
def test_with_the_true_terms_it_is_the_true_plant(payload: float) -> None:
    learned, arm = true_plant(payload), dataclasses.replace(ARM, payload=payload)
    rng = np.random.default_rng(0)
    x, u = rng.uniform(-4, 4, (4, 50)), rng.uniform(-10, 10, (2, 50))
    np.testing.assert_allclose(learned.casadi()(x, u, [], []), arm.casadi()(x, u, [], []), rtol=1e-10, atol=1e-10)
    free = learned.casadi(("context_1",))
    np.testing.assert_allclose(free(x, u, [], payload), arm.casadi()(x, u, [], []), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_the_power_balance_holds_for_any_weights(seed: int) -> None:
    plant = plant_of(any_energies(seed, 2.0), context_1=0.7, context_2=1.9)
    x, u = plant.state.symbol(), plant.input.symbol()
    v, energy = x[2:], plant.energy()(x)
    supplied = ca.dot(v, ca.SX(plant.matrix) @ u - ca.SX(plant.friction) * v)
    rate = ca.jtimes(energy, x, plant.casadi()(x, u, [], []))
    f = ca.Function("balance", [x, u], [rate - supplied, rate])
    rng = np.random.default_rng(seed)
    error, size = map(np.array, f(rng.uniform(-3, 3, (4, 100)), rng.uniform(-3, 3, (1, 100))))
    assert np.abs(error).max() < 1e-10 * np.abs(size).max()
    assert (plant.friction > 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_energy_is_kept_to_the_accuracy_of_the_integrator_for_any_weights(seed: int) -> None:
    plant = plant_of(any_energies(seed), friction=False, context_1=0.5)
    energy, drifts = plant.energy(), []
    for dt in (0.02, 0.01):
        step, x = Discretisation(plant, dt).function(), np.array([0.3, 1.0, 0.5, -1.0])
        run = [x := step(x, [0.0], [], []).full()[:, 0] for _ in range(round(2.0 / dt))]
        energies = np.array([float(energy(point)) for point in run])
        drifts.append(np.abs(energies - float(energy([0.3, 1.0, 0.5, -1.0]))).max())
    assert drifts[1] < 1e-5
    assert drifts[1] < drifts[0] / 8.0  # of fourth order


@pytest.mark.parametrize("seed", range(4))
def test_the_mass_matrix_is_positive_definite_for_any_weights(seed: int) -> None:
    energies, rng = any_energies(seed, 10.0), np.random.default_rng(seed)
    terms, floor = energies.terms(), 1e-3 * energies.inertia.min()
    for _ in range(20):
        mass = terms(rng.uniform(-5, 5, 2), rng.uniform(0, 3, 2) * rng.integers(0, 2, 2))[0].full()
        np.testing.assert_array_equal(mass, mass.T)
        assert np.linalg.eigvalsh(mass)[0] > floor * (1 - 1e-6)


def test_what_is_trained_is_what_casadi_derives() -> None:
    energies, rng = any_energies(5), np.random.default_rng(5)
    q, v, c = (rng.uniform(-2, 2, (30, 2)) for _ in range(3))
    c, u = np.abs(c), rng.uniform(-2, 2, (30, 1))
    weights, at = torch.tensor(energies.weights), [torch.tensor(part) for part in (c, q, v)]
    mass, force = torch.func.vmap(lambda *one: mass_and_force(energies, weights, *one))(*at)
    plant = plant_of(energies)
    derived = ca.SX.sym("q", 2), ca.SX.sym("v", 2), ca.SX.sym("c", 2)
    M, V = plant.terms(derived[0], derived[2])
    L = 0.5 * ca.bilin(M, derived[1], derived[1]) - V
    f = ca.Function("f", list(derived), [ca.vec(M), ca.gradient(L, derived[0])])
    for ours, theirs in zip((mass.flatten(1), force), f(q.T, v.T, c.T), strict=True):
        np.testing.assert_allclose(ours, np.array(theirs).T, rtol=1e-10, atol=1e-10)
    # Accelerations by torch's derivatives alone: M a = B u - D v + dL/dq - (d(M v)/dq) v.
    momentum = lambda c, q, v: mass_and_force(energies, weights, c, q, v)[0] @ v  # noqa: E731
    change = torch.func.vmap(lambda c, q, v: torch.func.jacrev(momentum, argnums=1)(c, q, v) @ v)(*at)
    right = force - change + torch.tensor(u @ plant.matrix.T - plant.friction * v)
    accelerations = torch.linalg.solve(mass, right)
    ode = plant.casadi(plant.context_names)(np.concatenate([q, v], axis=1).T, u.T, [], c.T)
    np.testing.assert_allclose(accelerations, np.array(ode)[2:].T, rtol=1e-10, atol=1e-10)


def test_the_errors_of_training_are_those_of_the_inference() -> None:
    runs, rng = measured(ARMS["two"], 3, 12, 0)[0], np.random.default_rng(6)
    scale = np.array([1.5, 0.6])
    made = Energies(np.array([True, True]), np.zeros(2), np.ones(2), scale, 3.0, scale, 2, (7,), True, np.zeros(0))
    energies, contexts = made.replace(made.first(6)), rng.uniform(0, 2, (3, 2))
    q, v, force, run = between(runs, np.eye(2))
    data = (q.transpose(1, 0, 2), v.transpose(1, 0, 2), force)
    trained = errors_at(sample_error(energies, DT), energies.weights, contexts, run, data)
    plant = LagrangianPlant(energies.terms(), ARM.state, ARM.input, np.eye(2), energies.friction())
    for r, c in enumerate(contexts):
        fit = LagrangianFit(plant, contexts, np.ones(4), np.ones(2), DT, 0, 0, ())
        own = Runs([runs.states[r]], [runs.inputs[r]], DT, runs.state, runs.input)
        constant, by_context = fit._impulses(own)
        inferred = np.linalg.solve(fit._mass(own, c), (constant + by_context @ c)[..., None])[..., 0]
        np.testing.assert_allclose(trained[run == r], inferred, rtol=1e-9, atol=1e-10)


def truth(contexts: np.ndarray, error: float) -> LagrangianFit:
    """The fit that found the true terms."""
    return LagrangianFit(true_plant(1.0), contexts, np.ones(4), np.full(2, error), DT, 0, 0, ())


def test_the_payload_is_inferred_from_a_window() -> None:
    runs, loads = measured(ARMS["two"], 4, WINDOW, 3)
    fit = truth(np.array([[0.0], [1.0], [2.0]]), 1e-2)
    for x, u, load in zip(runs.states, runs.inputs, loads, strict=True):
        inferred = fit.context(Runs([x], [u], DT, runs.state, runs.input))
        assert inferred.values[0] == pytest.approx(load, abs=0.02)
        assert abs(inferred.values[0] - load) < 5.0 * np.sqrt(inferred.covariance[0, 0])
    blind = truth(np.array([[0.0], [1.0], [2.0]]), 1e6).context(runs)  # data that mean nothing leave the prior
    np.testing.assert_allclose(blind.values, 1.0, rtol=1e-3)
    np.testing.assert_allclose(blind.covariance, 1.0, rtol=1e-3)


def test_the_integrated_errors_of_the_true_terms_vanish_with_the_samples() -> None:
    """Simpson's rule along cubics: of fifth order for one sample."""
    sizes = []
    for dt in (0.02, 0.01):
        step = Discretisation(dataclasses.replace(ARM, payload=0.7), dt, "rk4", 8).function()
        x, u = np.array([0.5, 1.0, 3.0, -4.0]), np.array([3.0, -2.0])
        after = step(x, u, [], []).full()[:, 0]
        constant, by_context = truth(np.ones((2, 1)), 1.0)._impulses(
            Runs([[x, after]], [[u]], dt, ARM.state, ARM.input)
        )
        sizes.append(np.abs(constant + 0.7 * by_context[:, :, 0]).max())
    assert sizes[1] < 1e-5
    assert sizes[0] / sizes[1] > 2.0**4.5


def small(contexts: int = 1, **settings: int) -> LagrangianFit:
    runs, _ = measured(ARMS["two"], 3, 12, 0)
    return fit_lagrangian(runs, LagrangianNetwork((6,), contexts, iterations=4, **settings))


def test_a_fit_is_a_plant_with_a_context() -> None:
    fit = small()
    assert fit.contexts.shape == (3, 1)
    assert fit.plant.parameters == {"context_1": pytest.approx(fit.contexts.mean())}
    assert fit.plant.context_names == ("context_1",)
    other = fit.with_context([0.5])
    assert other.plant.context_1 == 0.5
    assert "context_1" in str(fit)
    assert any("3 runs" in remark for remark in fit.remarks)
    task = dataclasses.replace(two_link_arm(), plant=other.plant)
    assert task.with_variation(Uniform({"context_1": 0.1}, {"context_1": 1.5})).varied.names == ("context_1",)


def test_a_system_with_fewer_inputs_than_coordinates_and_no_context() -> None:
    runs, _ = measured(ARMS["two"], 3, 12, 0)
    alone = Runs(runs.states, [u[:, :1] for u in runs.inputs], DT, runs.state, signals("torque [N m]"))
    network = LagrangianNetwork((6,), 0, friction=False, iterations=2)
    fit = fit_lagrangian(alone, network, np.array([[1.0], [0.0]]), ((-5.0, 5.0),))
    assert fit.plant.parameters == {}
    assert fit.plant.limits() == {"torque": (-5.0, 5.0)}
    assert (fit.plant.friction == 0).all()
    with pytest.raises(InvalidValue, match="without context"):
        fit.context(alone)


def test_misuse_is_refused() -> None:
    runs, _ = measured(ARMS["two"], 2, 12, 0)
    for settings, said in (
        ({"hidden": 32}, "hidden"),
        ({"hidden": ()}, "hidden"),
        ({"hidden": (0,)}, "hidden"),
        ({"contexts": 4}, "contexts"),
        ({"contexts": -1}, "contexts"),
        ({"friction": 1}, "friction"),
        ({"decay": -1.0}, "decay"),
        ({"iterations": 0}, "iterations"),
        ({"seed": 0.5}, "seed"),
    ):
        with pytest.raises(InvalidValue, match=said):
            LagrangianNetwork(**settings)  # type: ignore[arg-type]
    still = [np.zeros_like(u) for u in runs.inputs]
    rest = [np.concatenate([x[:, :3], 0 * x[:, 3:]], axis=1) for x in runs.states]
    others = signals("a [rad]", "b [rad]", "c [rad]", "d [rad]")
    for wrong, error, said in (
        (lambda: fit_lagrangian(runs.states), InvalidValue, "runs"),
        (lambda: fit_lagrangian(runs, "small"), InvalidValue, "network"),
        (lambda: fit_lagrangian(runs, matrix=np.eye(3)), DimensionMismatch, "matrix"),
        (lambda: fit_lagrangian(dataclasses.replace(runs, inputs=still)), InvalidValue, "all inputs are zero"),
        (lambda: fit_lagrangian(dataclasses.replace(runs, states=rest)), InvalidValue, "elbow_rate never changes"),
        (lambda: fit_lagrangian(dataclasses.replace(runs, state=others)), InvalidValue, "followed by their rates"),
        (lambda: fit_lagrangian(runs, input_limits=((0.0, 1.0),)), TriviumError, "input_limits"),
    ):
        with pytest.raises(error, match=said):
            wrong()
    one = Runs([x[:3] for x in runs.states], [u[:2] for u in runs.inputs], DT, runs.state, runs.input)
    with pytest.raises(InvalidValue, match="at least 8"):
        fit_lagrangian(one)
    single = Runs(runs.states, [u[:, :1] for u in runs.inputs], DT, runs.state, signals("torque [N m]"))
    with pytest.raises(DimensionMismatch, match="input matrix"):
        fit_lagrangian(single)
    fit = truth(np.ones((2, 1)), 1.0)
    with pytest.raises(DimensionMismatch, match="the input of the runs"):
        fit.context(single)
    with pytest.raises(DimensionMismatch, match="2 values"):
        fit.with_context([1.0, 2.0])
    with pytest.raises(InvalidValue, match="context_1"):
        fit.with_context([-1.0])


def test_wrong_plants_are_refused() -> None:
    good = {"terms": true_terms(), "state": ARM.state, "input": ARM.input, "matrix": np.eye(2), "friction": np.zeros(2)}
    q = ca.SX.sym("q", 2)
    for change, said in (
        ({"terms": None}, "terms"),
        ({"terms": ca.Function("f", [q], [q])}, "sizes"),
        ({"state": None}, "state"),
        ({"matrix": np.eye(3)}, "matrix"),
        ({"friction": [-1.0, 0.0]}, "friction"),
        ({"friction": [0.0]}, "friction"),
        ({"input_limits": ((0.0, 1.0),)}, "input_limits"),
        ({"context_1": -1.0}, "context_1"),
        ({"context_2": 1.0}, "context_2 = 1; expected 0"),
    ):
        with pytest.raises(TriviumError, match=said):
            LagrangianPlant(**{**good, **change})  # type: ignore[arg-type]


@pytest.mark.slow
def test_structure_and_context_help() -> None:
    arm = ARMS["two"]
    train, _ = measured(arm, 24, 60, 100)
    held, loads = measured(arm, 40, WINDOW + HORIZON, 200)
    made = itertools.islice(models(arm, train, held, 0, 40), 4)  # without the Kalman filter
    rows = {name: figures(arm, flow, held, loads) for name, flow, _, _ in made}
    best = rows.pop("lagrangian, context")
    assert best["error"] < 0.1
    for name, row in rows.items():  # over three seeds, the ratios were at least 16 and 64
        assert row["error"] > 5.0 * best["error"], name
        assert row["energy"] > 5.0 * best["energy"], name


@pytest.mark.slow
def test_held_out_runs_of_a_load_validate_the_fit() -> None:
    runs, loads = measured(ARMS["two"], 12, 50, 7)
    network = LagrangianNetwork((16,), iterations=25)
    fit = fit_lagrangian(runs, network)
    again = fit_lagrangian(runs, network)
    np.testing.assert_allclose(again.contexts, fit.contexts, rtol=1e-3)
    # The context is the load up to its unit, and the unit of the network's energies.
    assert np.corrcoef(loads, fit.contexts[:, 0])[0, 1] > 0.999
    held, _ = measured(ARMS["two"], 1, 60, 8)
    at = fit.with_context(fit.context(held).values)
    report, other = validate(at, held, horizon=20), validate(fit.with_context([0.0]), held, horizon=20)
    without = np.nan_to_num(other.errors[-1], nan=np.inf)  # NaN where a prediction diverges
    assert (report.errors[-1] < 0.1 * without).all()
