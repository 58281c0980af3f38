"""How learners and learned policies handle each part of a task."""

from __future__ import annotations

from collections.abc import Callable

from ctrl.answers import ESTIMATED, EXACT, Announced, Answer, Answers, Refused
from ctrl.controller import NotApplicable
from ctrl.knowledge import Knowledge
from safe_rl.policy import Policy
from systems import Task
from systems.measured_history import observed_in_words
from systems.reading import Part

__all__ = ["POLICY", "expect_fits", "learner_answers", "objective", "policy_knowledge", "policy_objective"]


def objective(task: Task) -> str:
    """The objective of learning, in words."""
    return f"learned: the return discounted by {task.discount:g} per sample, as far as training has converged"


def policy_objective(task: Task) -> str:
    """The objective of a policy, which does not record on which task it was trained, in words."""
    return f"{objective(task)}, if it was trained on this task"


def policy_knowledge(task: Task, moving: str) -> Knowledge:
    """Objective, tuning and foresight of a policy.

    Args:
        task: that it controls.
        moving: what it knows of a reference that moves.
    """
    return Knowledge(
        f"minus the return, discounted by {task.discount:g} per sample if trained on this task",
        "simulated runs before this comparison, whose number a policy does not record",
        "a constant reference" if task.reference.is_constant else moving,
    )


def expect_fits(policy: Policy, task: Task) -> None:
    """Raises NotApplicable where a policy observes or acts on another number of signals than the task has."""
    observed, inputs = task.observation_signals, len(task.plant.input)
    if (policy.observation_size, policy.action_size) != (len(observed), inputs):
        raise NotApplicable(
            f"the policy maps {policy.observation_size} observations to {policy.action_size} inputs; task "
            f"'{task.name}' has {len(observed)} ({', '.join(observed.names)}) and {inputs}: use the policy on the task "
            "it was trained on"
        )


def _promising(text: str) -> dict[Part, Answer]:
    answer = Announced(text)
    return dict.fromkeys((Part.HARD, Part.CHANGE_LIMIT, Part.CHANCE, Part.BUDGET, Part.EXCESS_BUDGET), answer)


def _measured(task: Task) -> Answer:
    """The answer to a measurement: the policy acts on measured signals, or on the state with an estimator."""
    if task.observes_measurement:
        return Announced(f"acts on {observed_in_words(task)}, without an estimator")
    return Announced(f"is trained on the state, and {ESTIMATED.text}")


_COMMON: dict[Part, Answer | Callable[[Task], Answer]] = {
    Part.NONLINEAR_PLANT: EXACT,
    Part.KINKED_PLANT: EXACT,
    Part.SINGULAR_PLANT: EXACT,
    Part.MOVING_REFERENCE: EXACT,  # observed
    Part.VARYING_LINEARISATION: EXACT,
    Part.COST_ELSEWHERE: EXACT,
    Part.REFERENCE_OUTSIDE: EXACT,
    Part.NON_QUADRATIC_COST: EXACT,
    Part.KINKED_COST: EXACT,
    Part.TERMINAL_COST: Announced("does not observe the time that remains until the terminal cost is charged"),
    Part.SOFT: EXACT,  # part of the reward
    Part.NONLINEAR_CONSTRAINT: EXACT,
    Part.KINKED_CONSTRAINT: EXACT,
    Part.DISTURBANCE: EXACT,
    Part.BIASED_DISTURBANCE: EXACT,
    Part.INTEGER: Refused(
        "the input {names} must be an integer, but the actions of these learners are continuous; train a learner of "
        "discrete actions on task.env()"
    ),
    Part.PERIODIC: EXACT,
    Part.DOMAIN: EXACT,  # leaving it is charged to the reward
    Part.MEASUREMENT: _measured,
    Part.FORECAST: EXACT,  # a state, which is observed
}

POLICY = Answers({**_COMMON, **_promising("guarantees nothing about the constraint {names}")})
"""The answers of a policy, which does not record how it was trained."""


def learner_answers(has_handler: bool) -> Answers:
    """The answers of a learner.

    Args:
        has_handler: whether constraints enter its update.
    """
    if not has_handler:
        return Answers({**_COMMON, **_promising("ignores the constraint {names}")})
    on_average = Announced("meets the budget of {names} on average over runs, not in every run")
    hard = Announced("treats the hard {names} as a budget of zero violated samples, without a guarantee")
    return Answers(
        {
            **_COMMON,
            Part.HARD: hard,
            Part.CHANGE_LIMIT: hard,
            Part.CHANCE: Announced("treats the chance constraint {names} as a budget on the share of violated samples"),
            Part.BUDGET: on_average,
            Part.EXCESS_BUDGET: on_average,
        }
    )
