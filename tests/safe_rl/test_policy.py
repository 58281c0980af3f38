"""The policy in its four forms: torch, numpy, file, ONNX."""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import casadi
import numpy as np
import pytest
import torch

from ctrl import Source, Status
from safe_rl.controller import PolicyController
from safe_rl.onnx import export_onnx
from safe_rl.policy import Policy
from systems import Plant, Quadratic, SetPoint, Task, Uniform, signals
from systems.arithmetic.interval import Interval
from systems.library import double_integrator, pendulum, pendulum_swing_up
from systems.lowering import lower
from systems.signals import angle


def make_policy(observation_size: int = 3) -> Policy:
    generator = torch.Generator().manual_seed(7)
    low, high = torch.tensor([-2.0, 0.0]), torch.tensor([2.0, 10.0])
    policy = Policy(observation_size, low, high, (24, 16), generator)
    policy.observation_mean.copy_(torch.linspace(-5.0, 5.0, observation_size))
    policy.observation_std.copy_(torch.linspace(0.1, 30.0, observation_size))
    return policy


def observations(n: int) -> torch.Tensor:
    return 10.0 * torch.randn(n, 3, generator=torch.Generator().manual_seed(8))


def test_log_density_is_that_of_the_transformed_gaussian() -> None:
    policy = make_policy().double()
    scaled = observations(200).double() / 5.0
    noise = torch.randn(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    action, log_density = policy.sample(scaled, noise)
    mean, log_std = policy.network(scaled).chunk(2, dim=-1)
    law = torch.distributions.Normal(mean, log_std.clamp(-20.0, 0.5).exp())
    before = law.mean + law.stddev * noise
    expected = (law.log_prob(before) - torch.log1p(-(torch.tanh(before) ** 2))).sum(-1)
    torch.testing.assert_close(action, torch.tanh(before))
    torch.testing.assert_close(log_density, expected, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(policy.sample_action(scaled, noise), action)


def test_numpy_form_equals_torch() -> None:
    policy = make_policy()
    x = observations(500)
    fast = policy.law()
    exact = policy.double().act(x.double()).numpy()
    np.testing.assert_allclose(fast(x.double().numpy()), exact, atol=1e-12 * 10, rtol=0)
    assert fast(x[0].numpy()).shape == (2,)
    assert fast(x.reshape(5, 100, 3).numpy()).shape == (5, 100, 2)


def test_actions_stay_inside_the_bounds() -> None:
    policy = make_policy()
    x = 1e6 * observations(500)
    sampled = policy.act(x, torch.Generator().manual_seed(0))
    for action in (policy.act(x), sampled, torch.as_tensor(policy.law()(x.numpy()))):
        assert (action >= torch.tensor([-2.0, 0.0])).all()
        assert (action <= torch.tensor([2.0, 10.0])).all()


@pytest.mark.parametrize("shape", [(4,), (5, 2), ()])
def test_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        make_policy().act(torch.zeros(shape))
    with pytest.raises(ValueError, match="expected"):
        make_policy().law()(np.zeros(shape))


def test_unbounded_input_is_refused() -> None:
    with pytest.raises(ValueError, match="finite bounds"):
        Policy(2, torch.tensor([-np.inf]), torch.tensor([1.0]), (4,), torch.Generator())


def test_file_gives_the_policy_back(tmp_path: Path) -> None:
    policy = make_policy()
    policy.save(tmp_path / "policy")
    assert torch.equal(Policy.load(tmp_path / "policy").act(observations(20)), policy.act(observations(20)))


def test_onnx_equals_torch_and_states_its_contract(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    policy = make_policy()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        contract = export_onnx(
            policy, tmp_path / "policy.onnx", observation_signals=["a [m]", "b [rad]", "c [m/s]"], discount=0.99
        )
    hidden = (DeprecationWarning, PendingDeprecationWarning)  # from users, by Python's own filters
    assert [str(w.message) for w in warned if not issubclass(w.category, hidden)] == []
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    session = onnxruntime.InferenceSession(tmp_path / "policy.onnx", providers=["CPUExecutionProvider"])
    span = 10.0
    for n in (1, 7, 300):
        x = observations(n)
        (action,) = session.run(None, {"observation": x.numpy()})
        np.testing.assert_allclose(action, policy.act(x).numpy(), atol=1e-6 * span, rtol=0)
    stated = json.loads(contract.read_text())
    assert stated["output"]["high"] == [2.0, 10.0]
    assert stated["input"]["signals"] == ["a [m]", "b [rad]", "c [m/s]"]
    assert stated["discount"] == 0.99
    with pytest.raises(ValueError, match=r"action_signals = .*; expected 2 names"):
        export_onnx(policy, tmp_path / "p.onnx", action_signals=["force [N]"])


def test_the_law_of_a_policy_is_what_runs_and_has_enclosures() -> None:
    task = double_integrator()
    low, high = (torch.as_tensor(bound, dtype=torch.float32) for bound in task.input_bounds)
    policy = Policy(2, low, high, (16, 16), torch.Generator().manual_seed(3))
    controller = PolicyController(task, policy)
    assert controller.law is not None
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (200, 2))
    np.testing.assert_array_equal(controller.law(x), controller.batch(x, 0))
    box = controller.law.enclose(Interval(np.full((1, 2), -1.0), np.full((1, 2), 1.0)))
    assert ((box.lo <= controller.law(x)) & (controller.law(x) <= box.hi)).all()


def test_a_policy_that_observes_more_than_the_state_has_no_law() -> None:
    task = pendulum_swing_up()
    low, high = (torch.as_tensor(bound, dtype=torch.float32) for bound in task.input_bounds)
    policy = Policy(len(task.observation_signals), low, high, (8,), torch.Generator().manual_seed(3))
    assert PolicyController(task, policy).law is None


def test_whole_turns_change_nothing_for_a_policy() -> None:
    """It was trained on the angle next to the reference, and its law speaks of that one."""

    @dataclass(frozen=True)
    class Turning(Plant):
        state = signals(angle("q [rad]"), "rate [rad/s]")
        input = signals("torque [N m]")

        def ode(self, x, u, w):
            return (x.rate, casadi.sin(x.q) + u.torque)

        def limits(self):
            return {"torque": (-3.0, 3.0)}

    task = Task(
        name="turning",
        plant=Turning(),
        dt=0.05,
        steps=10,
        cost=Quadratic(np.eye(2), np.eye(1)),
        initial=Uniform([2.0, -1.0], [4.0, 1.0]),
        reference=SetPoint([3.0, 0.0], [0.0]),
    )
    bounds = torch.tensor([-3.0]), torch.tensor([3.0])
    controller = PolicyController(task, Policy(2, *bounds, (8,), torch.Generator().manual_seed(0)))
    x = np.array([[2.0, 0.5], [5.0, -0.5]])
    u = controller.batch(x, 0)
    assert np.allclose(controller.batch(x + np.array([2 * np.pi, 0.0]), 0), u, atol=1e-12)
    assert np.allclose(controller.batch(x - np.array([6 * np.pi, 0.0]), 0), u, atol=1e-12)
    assert controller.law is not None
    assert np.allclose(controller.law(x), u)
    observe = lower(task.observe_function(), to="numpy")
    assert np.allclose(observe(x + np.array([2 * np.pi, 0.0]), np.array([3.0, 0.0])), x)


def test_an_infinite_state_is_no_reason_for_full_input() -> None:
    """The network answers it with a finite input, as tanh does; the controller says that there was no measurement."""
    task = pendulum()
    policy = Policy(2, torch.tensor([-0.75]), torch.tensor([0.75]), (4,), torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.abs_()
    controller = PolicyController(task, policy)
    with np.errstate(all="ignore"):
        assert policy.law()(np.full(2, np.inf)) == 0.75
    decision = controller.step(np.full(2, np.inf), 0)
    assert (decision.status, decision.source) == (Status.NUMERICAL, Source.BACKUP)
    assert decision.input == 0.0
