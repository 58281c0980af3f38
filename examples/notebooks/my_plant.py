# %% [markdown]
# # My plant
#
# A plant, a task and controllers in one notebook: a wagon that is to stop at a wall without touching it. Open this file
# in an editor that knows `# %%` cells (VS Code, PyCharm, Spyder, JupyterLab with Jupytext), or run it as a script.

# %%
from dataclasses import dataclass, replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from ctrl import LQR, compare, simulate
from ctrl.check import check_task
from mpc import LinearMPC, NonlinearMPC
from systems import Box, Plant, Quadratic, Task, Uniform, Vector, nonnegative, positive, signals

# %% [markdown]
# ## The plant
#
# Physics is written once, in `ode`. Simulation, optimisation, learning and proofs derive from it.


# %%
@dataclass(frozen=True)
class Wagon(Plant):
    """A wagon on a rail with quadratic drag; position 0 is the place to stop at."""

    mass: float = positive(2.0)  # kg
    drag: float = nonnegative(0.3)  # N s^2/m^2
    max_force: float = nonnegative(3.0)  # N

    state = signals("position [m]", "speed [m/s]")
    input = signals("force [N]")
    disturbance = signals("wind [N]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        drag = self.drag * x.speed * (x.speed**2 + 1e-6) ** 0.5
        return x.speed, (u.force + w.wind - drag) / self.mass

    def limits(self) -> dict[str, tuple[float, float]]:
        return {"force": (-self.max_force, self.max_force)}


# %% [markdown]
# ## The task
#
# The wall is 2 cm behind the place to stop at. The soft constraint is part of the cost, and `domain` is where the model
# is meant to hold.

# %%
task = Task(
    name="wagon",
    plant=Wagon(),
    dt=0.1,
    steps=80,
    cost=Quadratic(Q={"position": 1.0, "speed": 0.1}, R={"force": 0.02}),
    constraints=(Box("wall", {"position": (-np.inf, 0.02)}).soft(100.0),),
    initial=Uniform({"position": -3.0, "speed": 0.5}, {"position": -2.0, "speed": 2.0}),
    disturbance=Uniform({"wind": -0.1}, {"wind": 0.1}),
    domain=Box("rail", {"position": (-5.0, 5.0), "speed": (-5.0, 5.0)}),
)
print(check_task(task))

# %% [markdown]
# ## A comparison
#
# All controllers have the same starts and the same wind. `comparison` as the last line of a cell shows the table.

# %%
controllers = {"lqr": LQR, "linear-mpc": LinearMPC, "nonlinear-mpc": NonlinearMPC}
comparison = compare(task, controllers, starts=8, workers=1)
print(comparison)
comparison

# %% [markdown]
# ## One run

# %%
lqr = LQR(task)
runs = simulate(task, lqr, np.array([[-3.0, 1.5]]))
time = task.dt * np.arange(task.steps + 1)
figure, axes = plt.subplots(figsize=(6, 2.5), layout="constrained")
axes.plot(time, runs.states[0, :, 0], label="LQR")
axes.axhline(0.02, color="0.5", linestyle="dashed", label="wall")
axes.set(xlabel="time [s]", ylabel="position [m]")
axes.legend()
figure

# %% [markdown]
# ## A plant that differs from the model
#
# Controllers keep the nominal mass; the wagon that is simulated is loaded.

# %%
loaded = compare(task.with_truth(replace(task.plant, mass=3.0)), controllers, starts=8, workers=1, proof=None)
for name, metrics in loaded.metrics.items():
    ratio = metrics.cost.value / comparison.metrics[name].cost.value
    print(f"{name}: {ratio:.2f} times the cost, {metrics.violated.k} of {metrics.violated.n} runs beyond the wall")
