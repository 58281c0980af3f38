"""What was given in the wrong place is named, with what belongs there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from ctrl import LQR
from safe_rl import DSACT, PLO, PPO, SAC, DSACTSettings, GymnasiumTask, JumpStart, PPOSettings, assess, export_onnx
from systems import Inequality, InvalidValue
from systems.library import braking
from tests.safe_rl.tasks import TINY

TASK = braking()


def environment() -> Any:
    return gymnasium.make("Pendulum-v1")


@pytest.mark.parametrize(
    ("misuse", "said"),
    [
        (lambda: DSACT(TASK, settings={"hidden": (8,)}), "settings of DSACT.*instance of DSACTSettings"),  # type: ignore[arg-type]
        (lambda: SAC(TASK, settings=DSACTSettings()), "settings of SAC.*instance of SACSettings"),  # type: ignore[arg-type]
        (lambda: PLO(TASK, settings=TINY[SAC]), "settings of DSACT.*instance of DSACTSettings"),
        (lambda: DSACTSettings(batch_size=0), "DSACTSettings: batch_size = 0; expected a whole number of at least 1"),
        (lambda: DSACTSettings(delay=2.5), "delay = 2.5; expected a whole number"),  # type: ignore[arg-type]
        (
            lambda: DSACTSettings(evaluation_environments=-1),
            "evaluation_environments = -1; expected a whole number of at least 0",
        ),
        (lambda: DSACTSettings(averaging=2.0), "averaging = 2.0; expected a finite number above 0, at most 1"),
        (lambda: DSACTSettings(critic_rate=float("nan")), "critic_rate = nan; expected a finite number above 0"),
        (lambda: DSACTSettings(hidden=(64, 0)), r"hidden = \(64, 0\); expected whole numbers of at least 1"),
        (lambda: DSACTSettings(hidden=64), "hidden = 64; expected whole numbers"),  # type: ignore[arg-type]
        (lambda: DSACTSettings(capacity=30), "capacity = 30, environments = 40: the buffer cannot hold one step"),
        (
            lambda: PPOSettings(environments=2, horizon=8),
            "batch_size = 256, but a round collects horizon x environments = 16",
        ),
        (lambda: PPOSettings(trace=1.5), "trace = 1.5; expected a finite number of at least 0, at most 1"),
        (lambda: DSACTSettings(delay=True), "delay = True; expected a whole number"),
        (lambda: DSACT(TASK, seed=None), "seed = None; expected a whole number from 0"),  # type: ignore[arg-type]
        (lambda: DSACT(TASK, seed=True), "seed = True; expected a whole number"),
        (
            lambda: DSACT(TASK.plant),
            "task of DSACT = Double.*; expected a Task or a GymnasiumTask: it has no disc",
        ),  # type: ignore[arg-type]
        (lambda: DSACTSettings(form=3), "form = 3; expected 1 or 2"),  # type: ignore[arg-type]
        (lambda: PPOSettings(clip=0.0), "PPOSettings: clip = 0.0; expected a finite number above 0"),
        (
            lambda: PLO(TASK, settings=DSACTSettings(environments=10)),
            "evaluation_environments = 20, environments = 10: none is left to explore",
        ),
        (lambda: PPO(TASK, handler="Lagrangian"), "handler of PPO = 'Lagrangian'"),  # type: ignore[arg-type]
        (lambda: DSACT(TASK, handler=PLO), "handler of DSACT"),  # type: ignore[arg-type]
        (lambda: JumpStart(TASK, LQR(TASK)), "prior_policy .*such as LQR"),  # type: ignore[arg-type]
        (lambda: JumpStart(TASK, "lqr"), "prior_policy = 'lqr'"),  # type: ignore[arg-type]
        (lambda: assess(SAC(TASK, settings=TINY[SAC]), TASK), "learner.result"),  # type: ignore[arg-type]
        (lambda: GymnasiumTask("swing", environment(), {"cost": 1}), "without arguments"),
        (lambda: GymnasiumTask("swing", "Pendulum-v1", {"cost": 1}), "make = 'Pendulum-v1'"),  # type: ignore[arg-type]
        (lambda: GymnasiumTask("swing", environment, 25), "by name of the cost"),  # type: ignore[arg-type]
        (lambda: Inequality("wall", lambda x, u: x.position).budget("3"), "budget = '3'; expected a finite number"),  # type: ignore[arg-type]
    ],
)
def test_the_error_states_what_is_expected(misuse: Callable[[], object], said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        misuse()


def test_a_learner_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match=r"learner\.result"):
        export_onnx(SAC(TASK, settings=TINY[SAC]), tmp_path / "p.onnx")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_an_environment_without_a_cost_is_recognised() -> None:
    with pytest.raises(InvalidValue, match="its info contains nothing"):
        PLO(GymnasiumTask("swing", environment, {"cost": 1})).learn(1, progress=False)
