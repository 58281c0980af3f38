"""Nonlinear MPC: a task on its own plant as one nonlinear program per sample."""
