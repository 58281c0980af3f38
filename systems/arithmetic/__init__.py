"""Enclosures of numbers: intervals, balls and affine forms, rounded outwards, and exact rationals."""
