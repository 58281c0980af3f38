"""Covariance steering: known optima, laws by Monte Carlo, chances by exact intervals, and what is refused."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import binomtest, chi2, multivariate_normal, norm

from ctrl import Controller, NotApplicable, Source, Status, simulate
from mpc import CovarianceSteering, GaussianMixture
from mpc.steering.affine_chances import chance_constraints
from systems import (
    Box,
    DimensionMismatch,
    Ellipsoid,
    Fixed,
    Gaussian,
    Inequality,
    InvalidValue,
    LinearPlant,
    Nonlinear,
    Quadratic,
    SetPoint,
    Task,
    Uniform,
    integer,
    signals,
)
from systems.library import cartpole, planar_quadrotor

A, B = np.array([[1.0, 0.4], [0.0, 1.0]]), np.array([[0.08], [0.4]])
MIXTURE = GaussianMixture([0.4, 0.6], [[-4.0, 0.0], [3.0, 1.0]], [np.diag([0.4, 0.1]), np.diag([0.2, 0.2])])
TARGET = Gaussian(covariance_matrix=np.diag([0.15, 0.1]))
TASK = Task("two humps", LinearPlant(A, B, dt=0.4), 0.4, 12, Quadratic([0, 0], [1]), Fixed())
FORCE = Box("force", {"u1": (-1.6, 1.6)}).chance(0.95)
RUNS = 20_000


def changed(**changes: object) -> Task:
    return dataclasses.replace(TASK, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def free() -> CovarianceSteering:
    return CovarianceSteering(TASK, TARGET, MIXTURE)


@pytest.fixture(scope="module")
def limited() -> CovarianceSteering:
    return CovarianceSteering(changed(constraints=(FORCE,)), TARGET, MIXTURE)


def monte_carlo(steering: CovarianceSteering, factor: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """States (runs, steps + 1, n) and inputs (runs, steps, m), the modes drawn by a computation of their own."""
    rng, mixture = np.random.default_rng(1), steering.initial
    x = mixture.sample(rng, RUNS)
    laws = zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    density = np.array([weight * multivariate_normal(*law).pdf(x) for weight, *law in laws])
    below = np.cumsum(density, axis=0)
    mode = (rng.random(RUNS) * below[-1] > below[:-1]).sum(axis=0)
    states, inputs = [x], []
    for k in range(steering.task.steps):
        v, K, m = (np.array([getattr(plan, name)[k] for plan in steering.plans])[mode] for name in ("v", "K", "m"))
        u = v + np.einsum("rij,rj->ri", K, x - m)
        x = x @ A.T + u @ B.T + (0.0 if factor is None else rng.standard_normal((RUNS, len(factor.T))) @ factor.T)
        states.append(x)
        inputs.append(u)
    return np.stack(states, axis=1), np.stack(inputs, axis=1)


def expect_law(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> None:
    """Mean, covariance and fourth moments of draws of a normal law, to six standard errors."""
    deviations = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(x.mean(axis=0), mean, atol=6.0 * deviations.max() / np.sqrt(RUNS))
    scaled = (x - mean) / deviations
    expected = covariance / np.outer(deviations, deviations)
    np.testing.assert_allclose(np.cov(scaled.T), expected, atol=6.0 * np.sqrt(2.0 / RUNS))
    np.testing.assert_allclose((scaled**4).mean(axis=0), 3.0, atol=6.0 * np.sqrt(96.0 / RUNS))


def test_the_known_optimum_and_its_law(free: CovarianceSteering) -> None:
    """7.054224 is the optimum of this problem; the last state is normal although the first is bimodal."""
    assert free.expected_cost == pytest.approx(7.054224, abs=5e-6)
    assert max(plan.gap for plan in free.plans) < 1e-7
    states, inputs = monte_carlo(free)
    expect_law(states[:, -1], np.zeros(2), np.diag([0.15, 0.1]))
    cost = (inputs**2).sum(axis=(1, 2))
    assert cost.mean() == pytest.approx(free.expected_cost, abs=5.0 * cost.std() / np.sqrt(RUNS))
    assert (np.abs(inputs) > 1.6).mean(axis=0).max() == pytest.approx(0.203, abs=0.01)
    middle = free.distribution(6)
    np.testing.assert_allclose(states[:, 6].mean(axis=0), middle.mean, atol=0.1)
    np.testing.assert_allclose(np.cov(states[:, 6].T), middle.covariance, rtol=0.05, atol=0.05)


@pytest.mark.slow
def test_chances_are_kept_at_little_cost(free: CovarianceSteering, limited: CovarianceSteering) -> None:
    assert free.expected_cost < limited.expected_cost < 1.01 * free.expected_cost
    states, inputs = monte_carlo(limited)
    expect_law(states[:, -1], np.zeros(2), np.diag([0.15, 0.1]))
    violated = (np.abs(inputs[..., 0]) > 1.6).sum(axis=0)
    assert all(binomtest(int(count), RUNS).proportion_ci(0.999).high < 0.05 for count in violated)
    for plan in limited.plans:  # and exactly, one side at a time, as the program has it
        for k in range(12):
            deviation = np.sqrt((plan.K[k] @ plan.S[k] @ plan.K[k].T)[0, 0])
            assert max(norm.sf((1.6 - plan.v[k, 0]) / deviation), norm.sf((1.6 + plan.v[k, 0]) / deviation)) < 0.025001
    once = CovarianceSteering(changed(constraints=(FORCE,)), TARGET, MIXTURE, linearisations=1)
    assert limited.expected_cost < once.expected_cost


def test_limits_of_the_actuators_are_kept_with_a_probability(limited: CovarianceSteering) -> None:
    plant = LinearPlant(A, B, dt=0.4, input_limits=((-1.6, 1.6),))
    steering = CovarianceSteering(changed(plant=plant), TARGET, MIXTURE, input_probability=0.95)
    assert steering.expected_cost == pytest.approx(limited.expected_cost, rel=1e-6)
    assert abs(steering.step(np.array([-40.0, 0.0]), 0).input[0]) == 1.6


@pytest.mark.slow
def test_noise_is_part_of_the_law() -> None:
    """Each plan accounts for it, and the last law is the target's all the same."""
    E = np.array([[0.0], [0.1]])
    task = changed(plant=LinearPlant(A, B, E=E, dt=0.4), disturbance=Gaussian([0.8], [0.5]))
    target = Gaussian([0.4, 0.3], [1.0, -0.2])
    steering = CovarianceSteering(task, target, MIXTURE)
    assert steering.approximations == ()
    rng = np.random.default_rng(2)
    starts = MIXTURE.sample(rng, 1500)
    w = 0.5 + 0.8 * rng.standard_normal((1500, 12, 1))
    run = simulate(task, steering, starts, w)
    states = run.states[:, -1]
    np.testing.assert_allclose(states.mean(axis=0), [1.0, -0.2], atol=6.0 * 0.4 / np.sqrt(1500))
    np.testing.assert_allclose(np.diag(np.cov(states.T)), [0.16, 0.09], rtol=6.0 * np.sqrt(2.0 / 1500))
    assert run.cost.mean() == pytest.approx(steering.expected_cost, abs=6.0 * run.cost.std() / np.sqrt(1500))
    too_much = dataclasses.replace(task, disturbance=Gaussian([8.0]))
    with pytest.raises(NotApplicable, match=r"no steering of the covariance was found.*larger covariance"):
        CovarianceSteering(too_much, target, MIXTURE)
    drawn = CovarianceSteering(dataclasses.replace(task, disturbance=Uniform([0.0], [1.0])), target, MIXTURE)
    assert drawn.approximations == ("replaces the disturbance by a normal one of the same mean and covariance",)


def test_gains_are_those_of_a_nonlinear_program() -> None:
    """A scalar plant, where inputs, gains and variances can be optimised as they stand."""
    a, b, q, r, noise, first, last, mean, end = 1.2, 0.5, 0.7, 0.3, 0.05, 0.8, 0.2, 2.0, 0.5
    plant = LinearPlant([[a]], [[b]], E=[[1.0]], dt=1.0)
    task = Task("scalar", plant, 1.0, 4, Quadratic([q], [r]), Fixed(), (), SetPoint([0.3], [0.1]),
                Gaussian([np.sqrt(noise)]))  # fmt: skip
    start = GaussianMixture([1.0], [[mean]], [[[first]]])
    steering = CovarianceSteering(task, Gaussian([np.sqrt(last)], [end]), start)

    def follow(z: np.ndarray) -> tuple[float, float, float]:
        m, s, cost = mean, first, 0.0
        for v, gain in z.reshape(4, 2):
            cost += q * ((m - 0.3) ** 2 + s) + r * ((v - 0.1) ** 2 + gain**2 * s)
            m, s = a * m + b * v, (a + b * gain) ** 2 * s + noise
        return cost, m - end, s - last

    found = minimize(lambda z: follow(z)[0], np.tile([0.0, -2.0], 4), method="SLSQP",
                     constraints={"type": "eq", "fun": lambda z: follow(z)[1:]}, options={"ftol": 1e-12})  # fmt: skip
    assert found.success
    assert steering.expected_cost == pytest.approx(found.fun, rel=1e-5)
    plan = steering.plans[0]
    np.testing.assert_allclose(np.c_[plan.v[:, 0], plan.K[:, 0, 0]], found.x.reshape(4, 2), atol=2e-3)


@pytest.mark.slow
def test_norms_are_kept_with_their_probability() -> None:
    """An ellipse in the plane of position and speed, and one of speed and input."""
    start = GaussianMixture([0.5, 0.5], [[-4.0, 0.0], [3.0, 0.0]], np.array([np.diag([0.2, 0.05])] * 2))
    disc = Ellipsoid("disc", ("x1", "x2"), np.diag([0.02, 1.2]), 2.0).chance(0.9)
    power = Ellipsoid("power", ("x2", "u1"), np.diag([0.1, 0.5]), 1.0, (0.2, 0.0)).chance(0.9)
    free = CovarianceSteering(TASK, TARGET, start)
    steering = CovarianceSteering(changed(constraints=(disc, power)), TARGET, start)
    assert free.expected_cost + 0.1 < steering.expected_cost
    outside = {}
    for name, made in (("free", free), ("kept", steering)):
        states, inputs = monte_carlo(made)
        x1, x2, u = states[:, 1:-1, 0], states[:, 1:-1, 1], inputs[:, 1:, 0]
        broken = (0.01 * x1**2 + 0.6 * x2**2 > 1.0, 0.1 * (x2 - 0.2) ** 2 + 0.5 * u**2 > 1.0)
        outside[name] = [part.mean(axis=0).max() for part in broken]
    assert max(outside["free"]) > 0.2
    assert max(outside["kept"]) < 0.1
    disc_root, power_root = np.diag([0.1, np.sqrt(0.6)]), np.diag(np.sqrt([0.1, 0.5]))
    tightest, within = np.zeros(2), np.sqrt(chi2.ppf(0.9, 2))
    for plan in steering.plans:
        for k in range(1, 12):
            gains = np.vstack([[0.0, 1.0], plan.K[k]])
            centre = plan.m[k, 1] - 0.2, plan.v[k, 0]
            for i, (root, mean, spread) in enumerate(
                ((disc_root, plan.m[k], plan.S[k]), (power_root, centre, gains @ plan.S[k] @ gains.T))
            ):
                most = np.linalg.eigvalsh(root @ spread @ root)[-1]
                tightest[i] = max(tightest[i], np.linalg.norm(root @ mean) + within * np.sqrt(most))
    assert (tightest < 1.0001).all()
    assert tightest[0] > 0.97  # where it is active, the bound on the root is nearly tight


def test_an_ellipsoid_is_read_as_a_norm() -> None:
    P = np.array([[2.0, 0.5], [0.5, 1.0]])
    given = Ellipsoid("e", ("u1", "x2"), P, 3.0, (0.4, -0.7)).chance(0.9)
    (read,) = chance_constraints(changed(constraints=(given,)), 0.95)
    for z in np.random.default_rng(0).standard_normal((5, 3)):
        away = z[[2, 1]] - [0.4, -0.7]
        assert np.sum((read.C @ z - read.d) ** 2) == pytest.approx(away @ P @ away / 3.0)
    assert read.quantile**2 == pytest.approx(chi2.ppf(0.9, 2))
    assert (read.is_norm, read.on_input) == (True, True)


@pytest.mark.slow
def test_states_are_limited_from_the_first_predicted_one_on() -> None:
    """Rows of a polytope together, and the last state among them; the first is what it is."""
    wall = Box("wall", {"x2": (-1.5, 1.5)}).chance(0.9)
    steering = CovarianceSteering(changed(constraints=(wall,)), TARGET, MIXTURE)
    states, _ = monte_carlo(steering)
    outside = (np.abs(states[..., 1]) > 1.5).mean(axis=0)
    assert outside[0] > 0.05
    assert outside[1:].max() < 0.1
    fast, top = Gaussian([0.4, 0.3], [0.0, 3.0]), Box("top", {"x2": (-9.0, 2.8)}).chance(0.9)
    assert CovarianceSteering(TASK, fast, MIXTURE)
    with pytest.raises(NotApplicable, match="no steering"):  # which the last state alone breaks
        CovarianceSteering(changed(constraints=(top,)), fast, MIXTURE)


def test_the_mode_is_drawn_by_where_the_state_came_from(free: CovarianceSteering) -> None:
    assert isinstance(free, Controller)
    between, drawn = np.array([0.075, 0.5]), []
    shares = MIXTURE.responsibilities(between)
    assert 0.05 < shares[0] < 0.95
    near = between + 1e-6 * np.random.default_rng(0).standard_normal((2000, 2))
    for x in near:
        free.reset()
        free.step(x, 0)
        drawn.append(free._mode)
    interval = binomtest(drawn.count(0), len(drawn)).proportion_ci(0.9999)
    assert interval.low < shares[0] < interval.high
    free.reset()
    first = free.step(near[0], 0)
    later = free.step(np.array([1.0, 0.0]), 1)
    mode = free.plans[drawn[0]]
    np.testing.assert_allclose(first.input, mode.v[0] + mode.K[0] @ (near[0] - mode.m[0]), atol=1e-12)
    np.testing.assert_allclose(later.input, mode.v[1] + mode.K[1] @ ([1.0, 0.0] - mode.m[1]), atol=1e-12)
    assert (first.status, first.source) == (Status.SOLVED, Source.OPTIMAL)
    twin = pickle.loads(pickle.dumps(free))
    twin.reset()
    np.testing.assert_array_equal(twin.step(near[0], 0).input, first.input)


def test_no_measurement_follows_the_plan_and_the_end_hands_over(free: CovarianceSteering) -> None:
    free.reset()
    blind = free.step(np.full(2, np.nan), 0)
    assert (blind.status, blind.source) == (Status.NUMERICAL, Source.SHIFTED_PLAN)
    np.testing.assert_array_equal(blind.input, free.plans[1].v[0])  # of the likelier mode
    late = free.step(MIXTURE.means[0], 3)
    assert np.isfinite(late.input).all()
    for x in (np.full(2, 1e308), np.full(2, -1e200)):
        free.reset()
        assert np.isfinite(free.step(x, 0).input).all()
    assert free.step(np.zeros(2), 12).source is Source.BACKUP
    assert np.isfinite(free.step(np.full(2, np.inf), -1).input).all()


def test_mixtures_say_what_they_are() -> None:
    x = MIXTURE.sample(np.random.default_rng(0), RUNS)
    np.testing.assert_allclose(x.mean(axis=0), MIXTURE.mean, atol=0.15)
    np.testing.assert_allclose(np.cov(x.T), MIXTURE.covariance, rtol=0.05)
    np.testing.assert_allclose(MIXTURE.responsibilities(np.array([1e9, 0.0])), [1.0, 0.0], atol=1e-300)
    with pytest.raises(DimensionMismatch, match="with at least one mode"):
        GaussianMixture([1.0], [[0.0, 0.0]], [np.eye(3)])
    with pytest.raises(InvalidValue, match="with sum 1"):
        GaussianMixture([0.5, 0.6], np.zeros((2, 1)), np.ones((2, 1, 1)))
    with pytest.raises(InvalidValue, match="positive definite"):
        GaussianMixture([1.0], [[0.0]], [[[0.0]]])


def test_a_task_that_starts_from_a_normal_law_needs_no_mixture() -> None:
    one = CovarianceSteering(changed(initial=Gaussian([0.6, 0.3], [1.0, 0.0])), TARGET)
    same = CovarianceSteering(TASK, TARGET, GaussianMixture([1.0], [[1.0, 0.0]], [np.diag([0.36, 0.09])]))
    assert one.expected_cost == pytest.approx(same.expected_cost, rel=1e-9)
    with pytest.raises(InvalidValue, match="starts from a Fixed distribution; give initial=GaussianMixture"):
        CovarianceSteering(TASK, TARGET)
    with pytest.raises(InvalidValue, match="covariance of the target is not positive definite"):
        CovarianceSteering(TASK, Gaussian([0.1, 0.0]), MIXTURE)
    with pytest.raises(InvalidValue, match="a mixture over 1 signals"):
        CovarianceSteering(TASK, TARGET, GaussianMixture([1.0], [[0.0]], [[[1.0]]]))


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (cartpole(), "CartPole is not affine"),
        (planar_quadrotor(), "PlanarQuadrotor is not affine"),
        (changed(constraints=(Box("wall", {"x1": (-9.0, 9.0)}),)), "'wall' is hard, soft or a budget"),
        (changed(constraints=(Box("wall", {"x1": (-9.0, 9.0)}).soft(1.0),)), "'wall' is hard, soft or a budget"),
        (changed(cost=Nonlinear(lambda x, u, xr, ur: x.x1**4 + u.u1**2)), "its cost is not quadratic"),
        (changed(plant=LinearPlant(A, B, dt=0.4, input=signals(integer("u1 [-]")))), "is an integer"),
        (
            changed(constraints=(Inequality("curve", lambda x, u: x.x1**3 - 99.0).chance(0.9),)),
            "'curve' is neither affine nor an Ellipsoid",
        ),
    ],
)
def test_what_it_does_not_take_is_refused(task: Task, said: str) -> None:
    n = len(task.plant.state)
    start = GaussianMixture([1.0], np.zeros((1, n)), np.eye(n)[None])
    with pytest.raises(NotApplicable, match=said):
        CovarianceSteering(task, Gaussian(np.ones(n)), start)
