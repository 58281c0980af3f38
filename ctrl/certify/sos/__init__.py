"""Polynomial Lyapunov functions by sums of squares; what comes out is a candidate, not a proof."""
