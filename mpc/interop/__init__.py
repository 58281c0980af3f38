"""Conversion of tasks and plants from and to do-mpc and acados."""
