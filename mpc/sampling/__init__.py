"""Predictive control by sampling: random input sequences instead of derivatives."""
