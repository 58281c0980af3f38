"""Closed loops of a task and a law, with enclosures of their values and slopes, and where they rest."""
