"""Candidates by semidefinite programming, ellipsoids and sums of squares, and the regions proved with them."""
