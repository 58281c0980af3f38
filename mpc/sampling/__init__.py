"""Predictive control by sampling: random input sequences instead of derivatives."""

from mpc.sampling.intervention import Intervention

__all__ = ["Intervention"]
