"""Neural Lyapunov functions in training: what is exported is what was trained, and the proof agrees with the aim."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ctrl.certify import ClosedLoop, Kind, SearchLimits, certify, largest_level, sampled_limit
from ctrl.laws import Network, SaturatedLinear
from ctrl.regulator import LQR
from safe_rl.lyapunov import LyapunovSettings, train_lyapunov
from safe_rl.lyapunov.control import field
from safe_rl.lyapunov.networks import Control, Scale, Value
from safe_rl.lyapunov.zubov import simulated
from systems import Box, InvalidValue, LinearPlant, Quadratic, Task, Uniform
from systems.library import path_tracking, pendulum, van_der_pol_reversed

SHORT = LyapunovSettings(
    hidden=(8,),
    controller=(4,),
    updates=60,
    controller_updates=150,
    horizon=10,
    starts=200,
    batch=64,
    period=30,
    probes=500,
)


def scale() -> Scale:
    return Scale(np.array([0.3, -1.0]), np.array([-1.7, -6.0]), np.array([2.3, 4.0]))


def value(hidden: tuple[int, ...] = (9, 7)) -> Value:
    P = np.array([[1.0, 0.3], [0.3, 0.5]])
    return Value(scale(), hidden, 4, P, torch.Generator().manual_seed(1))


def states(count: int = 50) -> np.ndarray:
    return np.random.default_rng(0).uniform([-1.7, -6.0], [2.3, 4.0], (count, 2))


@pytest.mark.parametrize("hidden", [(9,), (9, 7), (5, 5, 5)])
def test_the_exported_function_equals_the_trained_one(hidden: tuple[int, ...]) -> None:
    network = value(hidden)
    x = torch.tensor(states(), requires_grad=True)
    there = network(x)
    (slope,) = torch.autograd.grad(there.sum(), x)
    V = network.lyapunov()
    points = states()
    assert np.allclose(V(points), there.detach().numpy(), rtol=1e-12, atol=1e-12)
    assert np.allclose(V.symbolic(points), there.detach().numpy(), rtol=1e-12, atol=1e-12)
    assert np.allclose(V.gradient(points), slope.numpy(), rtol=1e-11, atol=1e-11)
    assert V(V.middle) == 0.0
    assert network(torch.tensor(V.middle)).item() == 0.0
    assert (V(points) > 0).all()


def test_the_forward_derivative_is_the_gradient_along_a_direction() -> None:
    network, x = value(), torch.tensor(states(), requires_grad=True)
    v = torch.tensor(np.random.default_rng(1).standard_normal((50, 2)))
    (slope,) = torch.autograd.grad(network(x).sum(), x)
    there, along = network.rate(x, v)
    assert torch.allclose(there, network(x), rtol=1e-14)
    assert torch.allclose(along, (slope * v).sum(-1), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("make", [pendulum, path_tracking])
def test_the_exported_law_equals_the_trained_controller(make: object) -> None:
    task: Task = make()  # type: ignore[operator]
    lower, upper = task.domain_bounds
    network = Control(task, Scale(np.zeros(2), lower, upper), (6, 5), torch.Generator().manual_seed(2))
    x = np.random.default_rng(3).uniform(lower, upper, (200, 2))
    law, there = network.law(), network(torch.tensor(x)).detach().numpy()
    assert np.allclose(law(x), there, rtol=1e-12, atol=1e-13)
    bounds = task.applied_bounds
    assert ((there >= bounds[0] - 1e-12) & (there <= bounds[1] + 1e-12)).all()
    assert np.allclose(law(np.zeros(2)), task.reference.at(task.plant, 0)[1], atol=1e-15)
    loop = ClosedLoop(task, law)
    for continuous in (False, True):
        f = field(task, continuous)(torch.tensor(x), torch.tensor(there)).numpy()
        assert np.allclose(f, replace(loop, continuous=continuous)(x), rtol=1e-11, atol=1e-12)


def test_zubov_of_a_linear_loop_is_known() -> None:
    """For x+ = a x the cost is that of a geometric series."""
    plant = LinearPlant(A=np.array([[0.9]]), B=np.array([[1.0]]), dt=0.1)
    task = Task(
        name="line",
        plant=plant,
        dt=0.1,
        steps=10,
        cost=Quadratic(Q=np.eye(1), R=np.eye(1)),
        initial=Uniform({plant.state.names[0]: -1.0}, {plant.state.names[0]: 1.0}),
        domain=Box("model", {plant.state.names[0]: (-2.0, 2.0)}),
    )
    idle = SaturatedLinear(np.zeros((1, 1)), np.zeros(1), np.zeros(1), -np.ones(1), np.ones(1))
    samples = simulated(ClosedLoop(task, idle), *task.domain_bounds, 400, 300, np.random.default_rng(0))
    assert samples.share == 1.0
    J = (samples.inside[:, 0] / 2.0) ** 2 * 0.1 / (1 - 0.81)
    rest = 0.01**2 * 0.1 / (1 - 0.81)  # of the series, after arrival
    assert (np.abs(-samples.unit * np.log1p(-samples.target) - J) <= rest + 1e-12).all()


def test_motions_that_leave_are_outside() -> None:
    task = van_der_pol_reversed()
    loop = ClosedLoop(task, LQR(task).law, continuous=True)
    samples = simulated(loop, *task.domain_bounds, 500, 1500, np.random.default_rng(0))
    assert abs(samples.share - 13.722 / 35.0) < 4 * (0.39 * 0.61 / 500) ** 0.5
    assert (np.abs(samples.outside).max(axis=0) <= task.domain_bounds[1]).all()
    assert (np.linalg.norm(samples.inside, axis=1).max()) < 2.9  # the limit cycle reaches 2.68
    assert (samples.target < 1).all()
    assert (samples.target > 0).all()


@pytest.mark.parametrize("law", [None, LQR(path_tracking()).law])
@pytest.mark.every(2)
def test_the_same_seed_gives_the_same_function(law: SaturatedLinear | None) -> None:
    task = path_tracking()
    first, again = (train_lyapunov(task, law, seed=4, settings=SHORT, progress=False) for _ in range(2))
    x = np.random.default_rng(0).uniform(*task.domain_bounds, (100, 2))
    assert np.array_equal(first.V(x), again.V(x))
    assert np.array_equal(first.law(x), again.law(x))
    if law is not None:
        assert not np.array_equal(first.V(x), train_lyapunov(task, law, seed=5, settings=SHORT, progress=False).V(x))
    assert first.history == again.history
    assert [h.update for h in first.history] == [30, 60]
    assert torch.get_default_dtype() == torch.float32


def test_what_cannot_be_learned_is_refused() -> None:
    task = pendulum()
    good = LQR(task).law
    assert isinstance(good, SaturatedLinear)
    flipped = SaturatedLinear(-good.K, good.x_ref, good.u_ref, good.lower, good.upper)
    with pytest.raises(InvalidValue, match=r"arrive|not stable"):
        train_lyapunov(task, flipped, settings=SHORT, progress=False)
    with pytest.raises(InvalidValue, match="unbounded"):
        train_lyapunov(replace(task, domain=None), good, settings=SHORT, progress=False)


@pytest.mark.slow
def test_a_short_training_proves_more_than_the_ellipse() -> None:
    """Of the reversed oscillator, whose best ellipse holds less than half of the true region."""
    task = van_der_pol_reversed()
    found = train_lyapunov(
        task,
        LQR(task).law,
        continuous=True,
        settings=LyapunovSettings(hidden=(12, 12), updates=300, starts=600, batch=512, period=100, probes=4000),
        progress=False,
    )
    assert found.history[-1].target < found.history[0].target
    loop = ClosedLoop(task, found.law, continuous=True)
    level = 0.95 * sampled_limit(loop, found.V).level
    certificate = certify(task, found.law, found.V, level, budget=SearchLimits(1_000_000, 300.0), continuous=True)
    assert certificate.is_proved, certificate.reason
    assert 0.6 < certificate.volume / 13.722 < 1.0


@pytest.mark.slow
def test_a_controller_and_its_function_prove_most_of_the_path() -> None:
    task = path_tracking()
    found = train_lyapunov(task, progress=False)
    assert isinstance(found.law, Network)
    certificate = largest_level(task, found.law, found.V, resolution=5e-3, budget=SearchLimits(5_000_000, 600.0))
    assert certificate.is_proved, certificate.reason
    assert certificate.volume > 27.0
    wrong = [*found.law.weights[:-1], -found.law.weights[-1]]
    flipped = Network(tuple(wrong), found.law.biases, found.law.activations)
    loop = ClosedLoop(task, flipped)
    assert sampled_limit(loop, found.V).level < 0.1 * certificate.level
    refused = largest_level(task, flipped, found.V, budget=SearchLimits(100_000, 60.0))
    assert refused.kind is not Kind.PROVED
