"""Parameters drawn for every run: the same draws for every controller, the closed loop, environments and proofs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl import LQR
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.comparison.draws import draw_all
from ctrl.loop import simulate, totals
from systems import Fixed, Gaussian, InvalidValue, Plant, Quadratic, Signals, Task, TriviumError, Uniform, signals
from systems.envs.vector import VectorEnv
from systems.library import CartPole, cartpole


@dataclass(frozen=True)
class Decay(Plant):
    """x' = -rate x + gain u."""

    state = signals("x")
    input = signals("u")
    rate: float = 1.0
    gain: float = 1.0

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"u": (-5.0, 5.0)}

    def ode(self, x: Any, u: Any, w: Any) -> ca.SX:
        return -self.rate * x.x + self.gain * u.u


def decay(**changes: Any) -> Task:
    task = Task(
        "decay", Decay(), 0.1, 20, Quadratic({"x": 1.0}, {"u": 1.0}), Fixed({"x": 1.0}),
        variation=Uniform({"rate": 0.5}, {"rate": 2.0}), substeps=8,
    )  # fmt: skip
    return replace(task, **changes)


class Still:
    """Applies nothing."""

    def reset(self) -> None: ...

    def step(self, x: np.ndarray, k: int) -> Any:
        from ctrl import Decision

        return Decision(np.zeros(1))


class StillBatch(Still):
    def batch(self, x: np.ndarray, k: int) -> np.ndarray:
        return np.zeros((len(x), 1))


@pytest.mark.parametrize("controller", [Still(), StillBatch()], ids=["one by one", "batch"])
@pytest.mark.parametrize("count", [1, 3])
def test_each_run_has_its_own_plant(controller: Any, count: int) -> None:
    """x(t) = exp(-rate t), known in closed form."""
    rates = np.array([[0.5], [1.3], [2.0]])[:count]
    task = decay()
    runs = simulate(task, controller, np.ones((count, 1)), parameters=rates)
    exact = np.exp(-rates * 0.1 * np.arange(21))
    np.testing.assert_allclose(runs.states[..., 0], exact, rtol=1e-6)
    sums = totals(task, controller, np.ones((count, 1)), parameters=rates)
    np.testing.assert_array_equal(sums.cost, runs.cost)


def test_without_given_parameters_the_true_plant_has_its_own() -> None:
    task = decay(truth=Decay(rate=1.5))
    for controller in (Still(), StillBatch()):
        runs = simulate(task, controller, np.ones((2, 1)))
        np.testing.assert_allclose(runs.states[:, -1, 0], np.exp(-1.5 * 2.0), rtol=1e-6)


def test_the_true_plant_keeps_what_does_not_vary() -> None:
    """The gain of the true plant, the rate of the run."""
    task = decay(truth=Decay(rate=9.0, gain=3.0))

    class One(Still):
        def step(self, x: np.ndarray, k: int) -> Any:
            return replace(super().step(x, k), input=np.ones(1))

    runs = simulate(task, One(), np.zeros((1, 1)), parameters=np.array([[2.0]]))
    np.testing.assert_allclose(runs.states[0, -1, 0], 1.5 * (1.0 - np.exp(-4.0)), rtol=1e-6)


def test_parameters_of_another_shape_are_refused() -> None:
    for wrong in (np.ones((2, 1)), np.ones((3, 2)), np.ones(3)):
        with pytest.raises(TriviumError, match="parameters"):
            simulate(decay(), Still(), np.ones((3, 1)), parameters=wrong)
    with pytest.raises(TriviumError, match="parameters"):
        simulate(cartpole(), Still(), np.zeros((1, 4)), parameters=np.ones((1, 1)))


def test_draws_are_those_of_the_seed_and_leave_the_others_as_they_were() -> None:
    task = replace(cartpole(), variation=Uniform({"pole_mass": 0.05}, {"pole_mass": 0.2}))
    plain, drawn = draw_all(cartpole(), 50, (3,)), draw_all(task, 50, (3,))
    np.testing.assert_array_equal(drawn.starts, plain.starts)
    np.testing.assert_array_equal(drawn.disturbances, plain.disturbances)
    assert plain.parameters is None
    p = drawn.parameters
    assert p is not None
    assert p.shape == (50, 1)
    assert ((p >= 0.05) & (p <= 0.2)).all()
    assert p.std() > 0.02
    np.testing.assert_array_equal(draw_all(task, 50, (3,)).parameters, p)
    np.testing.assert_array_equal(draw_all(task, 10, (3,)).parameters, p[:10])
    # Runs that differ in their plant alone are different runs.
    assert len(draw_all(decay(), 5, (0,)).starts) == 5


def test_a_comparison_gives_every_controller_the_same_plants() -> None:
    from ctrl.comparison import compare

    task = replace(cartpole(), variation=Uniform({"pole_mass": 0.05}, {"pole_mass": 0.2}), steps=30)
    comparison = compare(task, {"a": LQR, "b": LQR}, starts=4, proof=None)
    np.testing.assert_array_equal(comparison.runs["a"].states, comparison.runs["b"].states)
    p = comparison.parameters
    assert p is not None
    for i in range(4):
        alone = simulate(
            task.with_truth(CartPole(pole_mass=float(p[i, 0]))), LQR(task), comparison.starts[i : i + 1],
            comparison.disturbances[i : i + 1],
        )  # fmt: skip
        np.testing.assert_allclose(alone.states[0], comparison.runs["a"].states[i], rtol=1e-9, atol=1e-12)
    assert "pole_mass in [0.05, 0.2]" in str(comparison)


def test_an_episode_of_gymnasium_has_one_plant_and_the_next_another() -> None:
    env = decay().env(seed=0)
    rates = []
    for _ in range(4):
        env.reset()
        x = [1.0]
        for _ in range(5):
            *_, info = env.step(np.zeros(1))
            x.append(float(info["state"][0]))
        each = -np.diff(np.log(x)) / 0.1
        np.testing.assert_allclose(each, each[0], rtol=1e-5)
        rates.append(each[0])
    assert np.ptp(rates) > 0.1
    assert all(0.5 <= rate <= 2.0 for rate in rates)


def test_copies_have_plants_of_their_own_until_their_runs_end() -> None:
    torch = pytest.importorskip("torch")
    env = VectorEnv(decay(), 8, dtype=torch.float64)
    env.reset()
    before, rates = env.state, []
    for _ in range(40):
        env.step(torch.zeros(8, 1, dtype=torch.float64))
        rates.append(-torch.log(env.ends[0] / before)[:, 0] / 0.1)
        before = env.state
    first, second = torch.stack(rates[:20]), torch.stack(rates[20:])
    for part in (first, second):
        torch.testing.assert_close(part, part[:1].expand_as(part), rtol=1e-5, atol=1e-8)
    assert (first[0] - second[0]).abs().min() > 1e-4
    assert first[0].std() > 0.1
    saved = env.state_dict()
    ahead = env.step(torch.zeros(8, 1, dtype=torch.float64)).reward
    other = VectorEnv(decay(), 8, dtype=torch.float64, seed=5)
    other.load_state_dict(saved)
    torch.testing.assert_close(other.step(torch.zeros(8, 1, dtype=torch.float64)).reward, ahead, rtol=0, atol=0)
    with pytest.raises(TriviumError, match="another task"):
        VectorEnv(decay(variation=None), 8, dtype=torch.float64).load_state_dict(saved)


def test_proofs_are_of_all_plants_that_may_be_drawn() -> None:
    task = decay()
    loop = ClosedLoop(task, LQR(task).law)
    assert loop.uncertain == {"rate": (0.5, 2.0)}
    wider = ClosedLoop(task, LQR(task).law, uncertain={"rate": (0.9, 3.0), "gain": (0.9, 1.1)})
    assert wider.uncertain == {"rate": (0.5, 3.0), "gain": (0.9, 1.1)}
    outside = ClosedLoop(decay(truth=Decay(rate=2.5)), LQR(task).law)
    assert outside.uncertain == {"rate": (0.5, 2.5)}


@pytest.mark.parametrize(
    ("variation", "message"),
    [
        (Uniform({"mass": 0.5}, {"mass": 2.0}), "mass"),
        (Uniform([0.5], [2.0]), "names no parameter"),
        (Gaussian({"rate": 0.1}, {"rate": 1.0}), "bounds"),
        (Uniform({"length": -0.1}, {"length": 0.5}), "length"),
    ],
)
def test_variations_that_make_no_sense_are_refused(variation: Any, message: str) -> None:
    task = cartpole() if "length" in str(variation) else decay(variation=None)
    with pytest.raises(TriviumError, match=message):
        replace(task, variation=variation)


def test_actuator_limits_cannot_vary() -> None:
    @dataclass(frozen=True)
    class Limited(Decay):
        most: float = 1.0

        def limits(self) -> dict[str, tuple[float, float]]:
            return {"u": (-self.most, self.most)}

    with pytest.raises(InvalidValue, match="limits"):
        decay(plant=Limited(), variation=Uniform({"most": 0.5}, {"most": 2.0}))


def test_no_variation_is_no_signal() -> None:
    assert decay(variation=None).varied == Signals()
    assert decay(variation=None) != decay()


def test_trials_of_a_learner_meet_the_drawn_plants() -> None:
    """A regulator that stabilises the nominal plant alone is not called stabilising."""
    pytest.importorskip("torch")
    from safe_rl.trials import stabilises

    task = decay(initial=Uniform({"x": -1.0}, {"x": 1.0}), steps=80, variation=None, tolerance={"x": 0.05})
    assert stabilises(task)
    assert not stabilises(task.with_variation(Uniform({"rate": -9.0}, {"rate": -8.0})))
