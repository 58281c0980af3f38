# %% [markdown]
# # Is it safe
#
# Statements of different strength about the same loop: what runs showed, and what is proved.

# %%
from ctrl import LQR, compare
from ctrl.certify import SearchLimits, constraint_statuses, largest_level, within_constraints
from systems.library import double_integrator

task = double_integrator()
lqr = LQR(task)

# %% [markdown]
# ## What runs show
#
# The interval says what so few runs can tell of the probability that a run violates a constraint.

# %%
comparison = compare(task, {"lqr": LQR}, starts=32, workers=1, proof=None)
violated = comparison.metrics["lqr"].violated
low, high = violated.interval
print(f"{violated.k} of {violated.n} runs violate a constraint; of all runs, {low:.0%} to {high:.0%} do (95 %)")

# %% [markdown]
# ## A proof
#
# Every state of the set reaches the equilibrium, at a rate, for the nominal model. The sentence names all that it
# depends on; the constraints of the task are decided beside it.

# %%
proved = largest_level(task, lqr.law, kappa=0.01, budget=SearchLimits(seconds=20))
print(proved)
print(*constraint_statuses(proved, task), sep="\n")

# %% [markdown]
# ## A set that keeps the constraints
#
# The level is lowered until no state of the set violates a hard constraint. No trajectory leaves the set, so runs
# from it keep the constraints at every sample, unlike runs from some of the starts above.

# %%
within = within_constraints(proved, task)
print(within)
print(*constraint_statuses(within, task), sep="\n")
