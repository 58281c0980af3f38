"""Candidates for Lyapunov functions, levels and inner levels, in floating point; nothing in this package is a proof."""
