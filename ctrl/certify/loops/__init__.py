"""Closed loops of a task and a control law, with enclosures of their values and slopes, and their equilibria."""
