"""Controllers that learn. Importing this package imports torch."""

from safe_rl.base.dsact import DSACT, DSACTSettings
from safe_rl.base.ppo import PPO, PPOSettings
from safe_rl.base.sac import SAC, SACSettings
from safe_rl.budgets import CostLimit, cost_limits
from safe_rl.checkpoint import CheckpointError
from safe_rl.combinations import (
    CAL,
    DSACH,
    DSACPID,
    PLO,
    PPOPID,
    SACPID,
    SACPLO,
    Combination,
    DSACLagrangian,
    DSACPenalty,
    PPOLagrangian,
    SACLagrangian,
)
from safe_rl.controller import PolicyController
from safe_rl.divergence import TrainingDiverged
from safe_rl.dual_network import train_dual_network
from safe_rl.evaluation import Assessment, assess, evaluate
from safe_rl.gymnasium_adapter import GymnasiumTask
from safe_rl.jump_start import JumpStart, JumpStartSettings
from safe_rl.measured_policy import MeasuredPolicyController
from safe_rl.onnx import export_onnx
from safe_rl.policy import Policy
from safe_rl.training import Learner

__all__ = [
    "CAL",
    "DSACH",
    "DSACPID",
    "DSACT",
    "PLO",
    "PPO",
    "PPOPID",
    "SAC",
    "SACPID",
    "SACPLO",
    "Assessment",
    "CheckpointError",
    "Combination",
    "CostLimit",
    "DSACLagrangian",
    "DSACPenalty",
    "DSACTSettings",
    "GymnasiumTask",
    "JumpStart",
    "JumpStartSettings",
    "Learner",
    "MeasuredPolicyController",
    "PPOLagrangian",
    "PPOSettings",
    "Policy",
    "PolicyController",
    "SACLagrangian",
    "SACSettings",
    "TrainingDiverged",
    "assess",
    "cost_limits",
    "evaluate",
    "export_onnx",
    "train_dual_network",
]
