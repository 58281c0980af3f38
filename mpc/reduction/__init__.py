"""Stochastic MPC among agents with several modes, its cone program reduced without changing its optimum."""
