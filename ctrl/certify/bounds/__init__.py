"""Outward-rounded bounds of how a Lyapunov function changes over boxes of states; whatever decides a proof."""
