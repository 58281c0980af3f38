"""PLO, DSAC-H and CAL with the numbers of their papers, as far as those are public.

The ready-made combinations of the same names in `safe_rl` are tuned on small tasks and learn in thousands of updates.
These have the authors' network sizes, rates, gains and gates, and need a hundred times as many updates. Each states
what is published and what is reconstructed by this project. Rewards and costs are scaled and violations measured as in
all learners here, and activations are GELU.
"""

from __future__ import annotations

from safe_rl.base.dsact import DSACT, DSACTSettings
from safe_rl.base.sac import SAC, SACSettings
from safe_rl.combinations import Combination
from safe_rl.handlers.conservative import ConservativeAugmented
from safe_rl.handlers.gains import DualAdamGains, PredictiveGains
from safe_rl.handlers.harmonic import Harmonic
from safe_rl.handlers.lagrangian import Lagrangian

__all__ = ["CAL", "DSACH", "DSACT_SETTINGS", "PLO", "PUBLISHED"]

_CONSTANT = 2**31 - 1  # updates over which step sizes decrease: effectively never

DSACT_SETTINGS = DSACTSettings(
    hidden=(256, 256, 256),
    critic_rate=1e-4,
    policy_rate=1e-4,
    temperature_rate=3e-4,
    decay=_CONSTANT,
    initial_log_temperature=1.0,
    averaging=0.005,
    capacity=1_000_000,
    environments=20,
    evaluation_environments=0,
    updates_per_step=1,
)
"""Published, of DSAC-T (Duan et al., 2023, arXiv 2310.05858, with the authors' code): three layers of 256, rates 1e-4,
3e-4 for the temperature, which starts at e, averaging 0.005, 20 transitions per update."""

PLO = Combination(
    "plo-published",
    DSACT,
    Lagrangian(gains=PredictiveGains(horizon=5, r=0.001, s=0.1, covariance=1.0), period=1, margin=0.0),
    DSACT_SETTINGS,
)
"""Published (Zhang, Yuan, Zhan et al., 2025, arXiv 2501.15217): the multiplier of every policy iteration from model
predictive control of the violation, and a policy step with it. Reconstructed: the horizon, all weights, and the model,
which is identified. The weights are small, so that only the violation counts; in the tuned version they are not."""

DSACH = Combination("dsac-h-published", DSACT, Harmonic(weight=1.0, gated=False, margin=0.1), DSACT_SETTINGS)
"""Published (Zhang, Zhan, Shuai et al., 2025, arXiv 2505.13532): in every iteration two gradients, of efficiency and of
safety, and one that minimises their conflict. Reconstructed: its formula, mutual projection, and the larger of two cost
critics. No gate is published, so there is none, and the budget has no influence; the tuned version has gates."""

CAL = Combination(
    "cal-published",
    SAC,
    ConservativeAugmented(margin=0.0, gains=DualAdamGains(rate=3e-4)),
    SACSettings(
        hidden=(256, 256),
        critic_rate=3e-4,
        policy_rate=3e-4,
        temperature_rate=3e-4,
        decay=_CONSTANT,
        initial_log_temperature=0.0,
        averaging=0.005,
        batch_size=12,
        capacity=1_000_000,
        warmup=5_000,
        environments=1,
        evaluation_environments=0,
        updates_per_step=10,
    ),
)
"""Published (Wu, Tang, Lin et al., 2024, arXiv 2401.14758, with the authors' code): four cost critics, k = 0.5, c = 10,
the critics as the source of the violation, rates 3e-4, a multiplier that starts at 0.6931, ten updates per step,
batches of 12, 5,000 random steps. Reconstructed: the initial temperature. The violation that c multiplies is clipped to
[-1, 1] and measured in units of the budget."""

PUBLISHED = (PLO, DSACH, CAL)
"""All three."""
