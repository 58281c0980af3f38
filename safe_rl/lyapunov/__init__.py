"""Lyapunov functions as networks, and controllers trained along with them; proofs are for ``ctrl.certify``."""

from safe_rl.lyapunov.condition import Round
from safe_rl.lyapunov.settings import LyapunovSettings
from safe_rl.lyapunov.training import LyapunovTraining, train_lyapunov

__all__ = ["LyapunovSettings", "LyapunovTraining", "Round", "train_lyapunov"]
