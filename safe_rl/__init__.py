"""Controllers that learn. Importing this package imports torch."""

from safe_rl.base.dsact import DSACT, DSACTSettings
from safe_rl.checkpoint import CheckpointError
from safe_rl.controller import PolicyController
from safe_rl.policy import Policy

__all__ = ["DSACT", "CheckpointError", "DSACTSettings", "Policy", "PolicyController"]
