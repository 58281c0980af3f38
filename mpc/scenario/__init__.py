"""MPC over scenarios: one plan of the inputs against several plants and disturbances at once."""
