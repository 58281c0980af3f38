"""Controllers that learn. Importing this package imports torch."""

from safe_rl.base.dsact import DSACT, DSACTSettings
from safe_rl.checkpoint import CheckpointError
from safe_rl.controller import PolicyController
from safe_rl.onnx import export_onnx
from safe_rl.policy import NumpyPolicy, Policy
from safe_rl.training import Learner, evaluate

__all__ = [
    "DSACT",
    "CheckpointError",
    "DSACTSettings",
    "Learner",
    "NumpyPolicy",
    "Policy",
    "PolicyController",
    "evaluate",
    "export_onnx",
]
