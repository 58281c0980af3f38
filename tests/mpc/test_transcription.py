"""From a task to conditions and stages: which rows, where, at what weight."""

from __future__ import annotations

import numpy as np

from ctrl.terminal import terminal
from mpc.nonlinear.transcription import transcribe
from systems import Box, Fixed, Inequality, LinearPlant, Polytope, Quadratic, SetPoint, Sinusoid, Task
from systems.library.cartpole import cartpole
from systems.library.pendulum import pendulum
from systems.reading.conditions import conditions

PLANT = LinearPlant(np.eye(2), np.eye(2), dt=0.1, input_limits=((-1.0, 1.0), (-np.inf, np.inf)))
CONSTRAINTS = (
    Box("mixed", {"x1": (-1.0, 2.0), "u1": (-0.5, 0.5)}),
    Box("soft input", {"u2": (-np.inf, 3.0)}).soft(7.0),
    Polytope("both", ("x2", "u2"), np.array([[1.0, 1.0], [1.0, 0.0]]), np.array([4.0, np.inf])),
    Inequality("chance", lambda x, u: [x.x1 - 5.0, -x.x2]).chance(0.9),
    Box("budget", {"x2": (-9.0, 9.0)}).budget(3.0),
)
TASK = Task("many", PLANT, 0.1, 10, Quadratic(Q=[1, 1], R=[1, 1]), Fixed(), CONSTRAINTS)


def test_every_requirement_becomes_rows_with_a_weight() -> None:
    rule = conditions(TASK)
    assert rule.names == ("mixed", "soft input", "both", "chance", "chance", "budget")
    np.testing.assert_array_equal(rule.weight, [np.inf, 7.0, np.inf, np.inf, np.inf, np.inf])
    np.testing.assert_array_equal(rule.lower, [-1.0, -np.inf, -np.inf, -np.inf, -np.inf, -9.0])
    np.testing.assert_array_equal(rule.upper, [2.0, 3.0, 0.0, 0.0, 0.0, 9.0])
    np.testing.assert_array_equal(rule.on_input, [False, True, True, False, False, False])
    value = np.array(rule.value([1.0, 2.0], [10.0, 20.0]))[:, 0]
    np.testing.assert_allclose(value, [1.0, 20.0, 18.0, -4.0, -2.0, 2.0])
    np.testing.assert_array_equal(TASK.input_bounds[0], [-0.5, -np.inf])  # where the hard box on an input went


def test_rows_are_imposed_where_something_can_be_done() -> None:
    rule = conditions(TASK)
    assert rule.imposed(0, 5).tolist() == [1, 2]
    assert rule.imposed(3, 5).tolist() == [0, 1, 2, 3, 4, 5]
    assert rule.imposed(5, 5).tolist() == [0, 3, 4, 5]


def test_stages_follow_one_another() -> None:
    made = transcribe(cartpole(), 3)
    assert made.state_at.shape == (4, 4)
    assert made.input_at.shape == (3, 1)
    # [x0 u0 s0 | x1 u1 s1 | x2 u2 s2 | x3 s3], the track's two sides sharing one violation
    assert made.state_at[:, 0].tolist() == [0, 6, 12, 18]
    assert made.input_at[:, 0].tolist() == [4, 10, 16]
    assert len(made.program.lower) == 23
    np.testing.assert_array_equal(made.program.lower[made.input_at[:, 0]], -10.0)
    # the gap to x1 and the measured state; the gap to x2 and the track; the gap to x3 and the track; the track
    equality = made.program.g_lower == made.program.g_upper
    assert equality.tolist() == [True] * 12 + [False] * 2 + [True] * 4 + [False] * 4
    assert made.row_at.tolist() == [[-1, -1], [12, 13], [18, 19]]


def test_the_domain_is_no_condition() -> None:
    assert conditions(cartpole()).names == ("track",)


def test_terminal_cost_is_chosen_with_a_reason() -> None:
    task = pendulum()
    assert terminal(task).P is not None

    def with_reference(reference: SetPoint | Sinusoid, base: Task = task) -> str:
        made = Task("t", base.plant, base.dt, 10, base.cost, Fixed(), reference=reference, integrator=base.integrator)
        return ("riccati: " if terminal(made).P is not None else "task: ") + terminal(made).chosen

    assert "at the optimal steady state angle = " in with_reference(SetPoint({"angle": 0.3}))
    assert with_reference(Sinusoid(0.1, x_sine={"angle": 0.3})) == "task: none: the reference moves"
    assert with_reference(Sinusoid(0.1, x_sine={"x1": 0.3}), TASK).startswith("task: none: the plant cannot follow")
    still = Sinusoid(0.0, x_mean={"x1": 0.3})
    assert with_reference(still, TASK) == "riccati: Riccati cost-to-go along the reference"
