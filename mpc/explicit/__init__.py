"""Explicit MPC: linear MPC solved for all states at once, as a piecewise affine law."""
