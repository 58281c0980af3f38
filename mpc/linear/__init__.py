"""Linear MPC: a task to second order as one quadratic program per sample."""
