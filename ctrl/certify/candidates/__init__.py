"""Lyapunov functions, levels and inner levels worth claiming, in floating point: nothing here is a proof."""
