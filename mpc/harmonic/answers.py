"""How controllers that end on an artificial reference handle each part of a task."""

from __future__ import annotations

from ctrl.answers import ESTIMATED, EXACT, NO_FORECAST, Announced, Answer, Answers, Refused
from mpc.approximations import DOMAIN, HELD_AS_HARD, INTEGER, LINEARISED, SLOPES_OF_KINKS, UNDISTURBED
from systems import Task
from systems.reading import Part

__all__ = ["FITTED", "STANDING", "answers"]

MOST_CHANGE = 0.25  # of the derivatives along a reference, at which one linearisation no longer serves the run

_ARTIFICIAL = Announced(
    "settles as close to the reference as the weights of the artificial reference say, not at {names}"
)
_NEAREST = Announced(
    "settles within {names} as close to the reference as the weights of the artificial reference say, which may be "
    "elsewhere than at the least stage cost"
)
FITTED = Announced("fits a sinusoid of the artificial reference's frequency to the reference ahead")
STANDING = Announced("treats the reference of each sample as constant")


def answers(moving: Answer) -> Answers:
    """How controllers that end on an artificial reference handle each part of a task.

    Args:
        moving: a reference that moves.
    """
    return Answers(
        {
            Part.NONLINEAR_PLANT: LINEARISED,
            Part.KINKED_PLANT: SLOPES_OF_KINKS,
            Part.SINGULAR_PLANT: EXACT,  # refused by tracking_model
            Part.MOVING_REFERENCE: moving,
            Part.VARYING_LINEARISATION: _varying,
            Part.COST_ELSEWHERE: _ARTIFICIAL,
            Part.REFERENCE_OUTSIDE: _NEAREST,
            Part.NON_QUADRATIC_COST: EXACT,  # refused by tracking_model
            Part.KINKED_COST: EXACT,
            Part.TERMINAL_COST: Refused(
                "it has a terminal cost, which a prediction that ends on an artificial reference cannot include; leave "
                "it out, or use the linear or the nonlinear MPC"
            ),
            Part.HARD: EXACT,
            Part.CHANGE_LIMIT: EXACT,
            Part.SOFT: Announced("treats the soft {names} as hard"),
            Part.CHANCE: HELD_AS_HARD,
            Part.BUDGET: HELD_AS_HARD,
            Part.EXCESS_BUDGET: Refused(
                "the budget of {names} limits the accumulated excess, which this controller cannot handle; use the "
                "nonlinear MPC"
            ),
            Part.NONLINEAR_CONSTRAINT: EXACT,  # refused by affine_task
            Part.KINKED_CONSTRAINT: EXACT,
            Part.DISTURBANCE: EXACT,
            Part.BIASED_DISTURBANCE: UNDISTURBED,
            Part.INTEGER: INTEGER,
            Part.PERIODIC: EXACT,
            Part.DOMAIN: DOMAIN,
            Part.MEASUREMENT: ESTIMATED,
            Part.FORECAST: NO_FORECAST,
        }
    )


def _varying(task: Task) -> Answer:
    """One linearisation serves a whole run as long as the derivatives hardly change along the reference."""
    change = task.reading.linearisation_change
    if change > MOST_CHANGE:
        return Refused(
            f"along its reference the derivatives of the plant change by {100 * change:.0f} % and this controller "
            "linearises once; use LinearMPC, LQR or NonlinearMPC"
        )
    return Announced(f"linearises once, though the derivatives change by {100 * change:.2g} % along the reference")
