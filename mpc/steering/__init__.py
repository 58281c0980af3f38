"""Steering of the distribution of the state from a Gaussian mixture to a Gaussian, planned before a run."""
