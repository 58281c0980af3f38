"""Compiled back-end of MPC with an artificial reference: interior point, and ADMM as a fast path."""
