# %% [markdown]
# # MPC or RL
#
# One task, three kinds of controller: a regulator, model predictive control, and a policy trained here. Training needs
# the extra `rl`. A comparison gives all of them the same objective, starts and disturbances; what each was made
# from, and knows in advance, is printed below.

# %%
from ctrl import LQR, compare
from mpc import LinearMPC
from safe_rl import DSACT, PolicyController
from systems.library import double_integrator

task = double_integrator()
print(task)

# %% [markdown]
# ## Training
#
# `UPDATES` is small, so that the notebook takes a minute or two. Costs of learners vary between seeds: train several
# before you conclude anything.

# %%
UPDATES = 2_000
SEEDS = (0, 1)

policies = {}
for seed in SEEDS:
    learner = DSACT(task, seed=seed)
    learner.learn(updates=UPDATES)
    policies[f"dsact, seed {seed}"] = PolicyController(task, learner.result)

# %% [markdown]
# ## Comparison
#
# Controllers whose interval of the ratio contains 1 are tied. `*` marks those that broke a hard constraint, whose cost
# is not comparable.

# %%
controllers = {"lqr": LQR, "linear-mpc": LinearMPC, **policies}
comparison = compare(task, controllers, starts=16, workers=1, proof=None)
print(comparison)
comparison

# %% [markdown]
# ## What they know
#
# Objective, data and knowledge in advance are differences that say nothing about the methods.

# %%
for name, known in comparison.knowledge.items():
    print(f"{name}: {known}")

# %% [markdown]
# ## Cost and constraints
#
# The runs, the phase plane, and cost against the time of a step.

# %%
figure = comparison.figure()
figure
