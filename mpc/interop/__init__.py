"""Tasks and plants from, and for, do-mpc and acados."""
