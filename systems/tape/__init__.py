"""Numerical code that is recorded once as a list of operations on doubles and then run as compiled code on many boxes.

The recorded operations are those of numpy, so bounds come from ``systems/arithmetic``; nothing is relaxed here.
"""
