"""Controllers that learn."""

from safe_rl.base.dsact import DSACT, DSACTSettings
from safe_rl.checkpoint import CheckpointError
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
    "evaluate",
    "export_onnx",
]
