"""MPC over scenarios: one plan for several plants and disturbances."""
