"""Plants that jump have constant slopes almost everywhere, and are not affine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl import LQR
from mpc import LinearMPC
from systems import Fixed, Plant, Quadratic, Task, signals


@dataclass(frozen=True)
class Jumping(Plant):
    """A velocity with friction that jumps."""

    kind: str = "sign"

    state = signals("speed [m/s]")
    input = signals("force [N]")

    def ode(self, x: Any, u: Any, w: Any) -> tuple[Any, ...]:
        friction = {
            "none": 0.0,
            "sign": ca.sign(x.speed),
            "floor": ca.floor(x.speed),
            "if_else": ca.if_else(x.speed > 0.5, 1.0, 0.0),
        }[self.kind]
        return (u.force - x.speed - 0.5 * friction,)

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"force": (-1.0, 1.0)}


@pytest.mark.parametrize("kind", ["none", "sign", "floor", "if_else"])
def test_a_plant_that_jumps_is_not_affine(kind: str) -> None:
    task = Task("t", Jumping(kind), 0.1, 10, Quadratic(np.eye(1), np.eye(1)), Fixed([0.7]))
    assert task.reading.is_affine == (kind == "none")
    for controller in (LQR(task), LinearMPC(task, 5)):
        assert any(text.startswith("linearises") for text in controller.approximations) == (kind != "none")
        assert any(kind in text for text in controller.approximations) == (kind != "none")
