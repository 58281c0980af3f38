"""Stochastic MPC: chance constraints under additive noise, by tightened constraints on a nominal prediction."""
