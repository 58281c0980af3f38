"""Numerical code recorded once as a list of operations on doubles, and run compiled on many boxes."""
