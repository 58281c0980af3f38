"""Policies in C against policies in Python: observations, moving references, wide and narrow networks."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import casadi as ca
import numpy as np
import pytest
import torch

from ctrl.export import NotExportable
from ctrl.export.network import network_part
from ctrl.export.text import table
from ctrl.laws import Network
from ctrl.laws.network import Activation
from safe_rl import Policy, PolicyController
from systems import Observation, Task, signals
from systems.library import cartpole_swing_up, cartpole_track, double_integrator, driving, kinematic_car, segway
from tests.exported import STRICT, Compiled, check_project, compiler, largest_difference, run


def controller_of(task: Task, hidden: tuple[int, ...]) -> PolicyController:
    bounds = [torch.tensor(bound) for bound in task.input_bounds]
    generator = torch.Generator().manual_seed(0)
    policy = Policy(len(task.observation_signals), *bounds, hidden, generator)
    with torch.no_grad():
        policy.observation_mean += 0.1
        policy.observation_std *= 2.0
        for bias in policy.network.biases:
            bias += 0.05 * torch.randn(bias.shape, generator=generator)
    return PolicyController(task, policy)


@pytest.mark.parametrize(
    ("make", "hidden"),
    [(cartpole_swing_up, (16, 16)), (cartpole_track, (8,)), (kinematic_car, (64, 3, 5)), (segway, (4, 4))],
)
@pytest.mark.every(2)
def test_a_policy_in_c_is_the_policy(make: Callable[[], Task], hidden: tuple[int, ...], tmp_path: Path) -> None:
    task = make()
    controller = controller_of(task, hidden)
    folder = controller.export(tmp_path)
    check_project(folder)
    start = task.initial.sample(task.plant.state, np.random.default_rng(3), (2,))
    steps = task.steps if not task.reference.is_constant else 500
    assert largest_difference(controller, Compiled(folder, task), task, start, steps) < 1e-6


@pytest.mark.slow
def test_an_observation_of_the_surroundings(tmp_path: Path) -> None:
    task = driving()
    controller = controller_of(task, (32, 32))
    check_project(controller.export(tmp_path, "driver"))


def test_an_observation_without_a_form_in_c_is_refused(tmp_path: Path) -> None:
    table = ca.interpolant("table", "bspline", [[0.0, 1.0, 2.0, 3.0]], [0.0, 1.0, 4.0, 9.0])
    observation = Observation(signals("height"), lambda x, xr: table(x.position))
    task = dataclasses.replace(double_integrator(), observation=observation)
    with pytest.raises(NotExportable, match="its observation cannot be exported to C"):
        controller_of(task, (4,)).export(tmp_path)


def test_every_activation(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    names: tuple[Activation, ...] = ("relu", "leaky_relu", "tanh", "gelu", "identity")
    widths = (3, 7, 2, 5, 4, 2)
    law = Network(
        tuple(rng.normal(size=(b, a)) for a, b in itertools.pairwise(widths)),
        tuple(rng.normal(size=b) for b in widths[1:]),
        names,
    )
    part = network_part(law)
    sizes = ", ".join(f"{key} = {value}" for key, value in part.sizes.items())
    (tmp_path / "n.c").write_text(
        "#include <math.h>\n#include <stdio.h>\n"
        + f"enum {{ {sizes} }};\n"
        + "".join(table(key, values) for key, values in part.tables.items())
        + "".join(part.sources)
        + "int main(void) { double x[3], u[2]; "
        'while (scanf("%lf %lf %lf", x, x + 1, x + 2) == 3) { network(x, u); printf("%.17g %.17g\\n", u[0], u[1]); } '
        "return 0; }"
    )
    run(*compiler(), *STRICT, tmp_path / "n.c", "-o", tmp_path / "n", "-lm")
    points = rng.normal(size=(200, 3)) * np.geomspace(1e-3, 1e3, 200)[:, None]
    text = "\n".join(" ".join(map(repr, point.tolist())) for point in points)
    answers = np.array([line.split() for line in run(tmp_path / "n", text=text).splitlines()], dtype=float)
    assert np.allclose(answers, law(points), rtol=1e-12, atol=1e-12)
