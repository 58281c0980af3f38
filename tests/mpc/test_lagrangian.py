"""Lagrangian-predictive MPC: ipopt's optimum, multipliers by feedback, batches against single problems, faults."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import casadi as ca
import numpy as np
import pytest

from ctrl.controller import Controller, Source, Status
from ctrl.multipliers import PID, Integral
from mpc.lagrangian.descent import Descent
from mpc.lagrangian.lagrangian_mpc import LagrangianMPC
from mpc.lagrangian.shooting import CasadiShooting
from mpc.nonlinear.transcription import transcribe
from mpc.solvers.ipopt import Ipopt
from systems import Box, DimensionMismatch, Inequality, InvalidValue, Sinusoid, Task
from systems.library.cartpole import cartpole
from systems.library.double_integrator import double_integrator
from systems.library.pendulum import pendulum


def rate_limited() -> Task:
    return dataclasses.replace(pendulum(), constraints=(Box("rate limit", {"rate": (-0.4, 0.4)}),))


def hard_track() -> Task:
    return dataclasses.replace(cartpole(), constraints=(Box("track", {"position": (-2.4, 2.4)}),))


def crooked() -> Task:
    """State and input in one nonlinear condition."""
    rule = Inequality("effort", lambda x, u: x.rate**2 + 4.0 * u.torque**2 - 1.0)
    return dataclasses.replace(pendulum(), constraints=(rule, Box("cone", {"angle": (-0.5, 0.5)}).soft(30.0)))


PROBLEMS: dict[str, tuple[Task, int, list[list[float]]]] = {
    "double integrator": (double_integrator(), 25, [[-3.0, 0.45], [4.0, 0.75], [1.0, 0.0]]),
    "pendulum": (rate_limited(), 20, [[-0.4, 0.3], [0.5, -0.2], [0.25, 0.3]]),
    "cart-pole": (hard_track(), 10, [[2.2, -0.1, 0.7, 0.0], [-2.2, 0.1, -0.6, 0.0], [0.5, 0.1, 0.0, 0.0]]),
    "soft cart-pole": (cartpole(), 15, [[2.2, 0.0, 1.5, 0.0], [2.35, 0.05, 0.3, 0.0]]),
    "nonlinear": (crooked(), 12, [[0.3, 0.2], [-0.4, 0.2]]),
}


def optimum(task: Task, horizon: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Inputs, signed multipliers of the two-sided rows in the order of their stages, and cost, by ipopt."""
    control = transcribe(task, horizon)
    found = Ipopt(control.program, 1000).solve(np.zeros(len(control.program.lower)), x)
    assert found.status is Status.SOLVED
    program = control.program
    rows = found.multipliers[program.g_lower != program.g_upper]
    cost = float(ca.Function("f", [program.z, program.p], [program.f])(found.point, x))
    return found.point[control.input_at].ravel(), rows, cost


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.every(3)
def test_it_reaches_the_point_ipopt_does(name: str) -> None:
    task, horizon, starts = PROBLEMS[name]
    controller, active = LagrangianMPC(task, horizon, max_iterations=400, tolerance=5e-6), 0
    for x in map(np.array, starts):
        controller.reset()
        decision = controller.step(x, 0)
        u, multipliers, cost = optimum(task, horizon, x)
        assert decision.status is Status.SOLVED
        assert decision.source is Source.OPTIMAL
        assert controller.plan is not None
        np.testing.assert_allclose(controller.plan.u.ravel(), u, atol=1e-4 * np.abs(u).max())
        found = Descent(controller.shooting)
        point = found.solve(controller.plan.u.reshape(1, -1), controller.multipliers[None])
        soft = np.isfinite(controller.shooting.weight)
        over = np.maximum(controller.shooting.evaluate(point.inputs, np.array([0])).violation[0, soft], 0.0)
        point.cost[0] += controller.shooting.weight[soft] @ over
        assert point.cost[0] == pytest.approx(cost, rel=1e-5)
        active += int((controller.multipliers > 1e-3).sum())
        if "soft" not in name and name != "nonlinear":  # ipopt's soft rows have two sides of their own
            order = np.lexsort((controller.shooting.row, controller.shooting.stage))
            signed = np.zeros(len(multipliers))
            pairs = sorted(set(zip(controller.shooting.stage, controller.shooting.row, strict=True)))
            for i in order:
                at = pairs.index((controller.shooting.stage[i], controller.shooting.row[i]))
                signed[at] += controller.shooting.sign[i] * controller.multipliers[i]
            np.testing.assert_allclose(signed, multipliers, atol=1e-4 * max(1.0, np.abs(multipliers).max()))
    assert active  # or the problems show nothing


@pytest.mark.parametrize("make", [lambda n, top: Integral(20.0, n, top), lambda n, top: PID(20.0, 10.0, 5.0, n, top)])
def test_other_feedback_reaches_the_same_point(make: object) -> None:
    task, x = hard_track(), np.array([2.0, 0.0, 0.4, 0.0])
    answers = []
    for kind in (make, None):
        options = {} if kind is None else {"make": kind}
        controller = LagrangianMPC(task, 8, max_iterations=5000, tolerance=1e-7, **options)  # type: ignore[arg-type]
        assert controller.step(x, 0).status is Status.SOLVED
        assert controller.plan is not None
        answers.append(controller.plan.u)
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)


def test_derivatives_are_those_of_the_rollout() -> None:
    task = dataclasses.replace(crooked(), reference=Sinusoid(0.2, x_sine={"angle": 0.1}, u_cosine={"torque": 0.1}))
    shooting, rng = CasadiShooting(task, 6), np.random.default_rng(0)
    x_ref, u_ref = task.reference.at(task.plant, np.arange(3, 10))
    shooting.place(np.array([0.3, -0.2]), np.array(x_ref), np.array(u_ref))
    U, one, h = rng.normal(size=(1, 6)), np.array([0]), 1e-6
    point = shooting.evaluate(U, one)
    for i in range(6):
        above, below = (shooting.evaluate(U + sign * h * np.eye(6)[i], one) for sign in (1.0, -1.0))
        np.testing.assert_allclose(point.gradient[0, i], (above.cost - below.cost)[0] / (2 * h), atol=1e-6)
        np.testing.assert_allclose(point.jacobian[0, :, i], (above.violation - below.violation)[0] / (2 * h), atol=1e-6)


def test_a_warm_start_is_shifted_with_its_multipliers() -> None:
    task = double_integrator()
    controller, step = LagrangianMPC(task, 25), task.dynamics.function()
    x, cold = np.array([-4.0, 0.0]), 0
    for k in range(30):
        decision = controller.step(x, k)
        assert decision.status is Status.SOLVED
        cold = decision.iterations if k == 0 else cold
        if k > 3:
            assert decision.iterations <= max(3, cold)
        x = np.array(step(x, decision.input, 0, []))[:, 0]
        assert x[1] <= 1.0 + 1e-4
    controller.reset()
    assert controller.plan is None
    assert not controller.multipliers.any()


def test_states_beyond_all_bounds_are_answered() -> None:
    controller = LagrangianMPC(hard_track(), 8, max_iterations=20)
    for size in (1e2, 1e8, 1e100, 1e300):
        decision = controller.step(np.full(4, size), 0)
        assert np.isfinite(decision.input).all()
        assert decision.status is not Status.SOLVED


def test_the_chain_plan_then_regulator_and_misuse() -> None:
    controller, nothing = LagrangianMPC(rate_limited(), 4), np.full(2, np.nan)
    assert isinstance(controller, Controller)
    assert "Riccati" in controller.terminal
    assert controller.step(nothing, 0).source is Source.BACKUP
    controller.step(np.array([0.1, 0.0]), 1)
    plan = controller.plan
    assert plan is not None
    for k in (2, 3, 4):
        decision = controller.step(nothing, k)
        assert decision.source is Source.SHIFTED_PLAN
        np.testing.assert_array_equal(decision.input, plan.u[k - 1])
    assert controller.step(nothing, 5).source is Source.BACKUP
    with pytest.raises(DimensionMismatch, match="angle, rate"):
        controller.step(np.zeros(3), 0)
    with pytest.raises(InvalidValue, match="max_iterations"):
        LagrangianMPC(pendulum(), max_iterations=0)
    with pytest.raises(InvalidValue, match="horizon"):
        LagrangianMPC(pendulum(), horizon=0)


def test_a_batch_is_its_problems_one_by_one() -> None:
    pytest.importorskip("torch")
    from mpc.lagrangian.batch import LagrangianBatch

    task = hard_track()
    rng = np.random.default_rng(1)
    x0 = rng.uniform([-2.2, -0.2, -0.5, -0.4], [2.2, 0.2, 0.5, 0.4], (24, 4))
    x0[5] = np.nan
    mass = rng.uniform(0.8, 1.2, (24, 1))
    found = LagrangianBatch(task, 10, ("cart_mass",)).solve(x0, mass)
    assert np.isinf(found.residual[5])
    assert (np.delete(found.residual, 5) <= 1e-6).mean() > 0.9
    for i in (0, 7, 13):
        plant = dataclasses.replace(task.plant, cart_mass=float(mass[i, 0]))  # type: ignore[call-arg]
        single = CasadiShooting(dataclasses.replace(task, plant=plant), 10)
        single.metric, single.last = LagrangianBatch(task, 10).shooting.metric, CasadiShooting(task, 10).last
        single.place(x0[i], np.zeros((11, 4)), np.zeros((11, 1)))
        alone = Descent(single).solve(np.zeros((1, 10)), np.zeros((1, len(single.weight))))
        np.testing.assert_allclose(found.inputs[i], alone.inputs[0], atol=1e-6)
        np.testing.assert_allclose(found.multipliers[i], alone.multipliers[0], atol=1e-4)
        assert found.iterations[i] == alone.iterations[0]
    with pytest.raises(DimensionMismatch, match=r"\(b, 4\)"):
        LagrangianBatch(task, 10).solve(np.zeros((3, 2)))


def test_gradients_of_a_batch_are_those_of_automatic_differentiation() -> None:
    torch = pytest.importorskip("torch")
    from mpc.lagrangian.batch import TorchShooting
    from systems.envs.model import SampleModel

    task = cartpole()
    free = dataclasses.replace(task, constraints=())
    shooting, model = TorchShooting(free, 7), SampleModel(free, "torch")
    rng = np.random.default_rng(2)
    x0, U = 0.3 * rng.normal(size=(5, 4)), rng.normal(size=(5, 7))
    shooting.place(x0, np.zeros((8, 4)), np.zeros((8, 1)), np.zeros((5, 0)))
    u = torch.tensor(U, requires_grad=True)
    w = torch.zeros(7, 5, 1, dtype=torch.float64)
    run = model.rollout(torch.tensor(x0), u.T[..., None], w)
    P = torch.tensor(shooting.end.P)
    total = run.costs.sum(0) + torch.einsum("bi,ij,bj->b", run.states[-1], P, run.states[-1])
    total.sum().backward()
    point = shooting.evaluate(U, np.arange(5))
    np.testing.assert_allclose(point.cost, total.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(point.gradient, u.grad.numpy(), rtol=1e-10, atol=1e-10)


def test_torch_stays_outside_until_a_batch_is_made() -> None:
    code = "import sys, mpc, mpc.lagrangian.lagrangian_mpc, mpc.lagrangian.batch; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
