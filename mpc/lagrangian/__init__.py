"""Lagrangian-predictive control: first-order steps on the inputs, multipliers by feedback, one problem or a batch."""
