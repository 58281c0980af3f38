"""Enclosures of numbers: intervals, balls and affine forms, rounded outwards, and exact rationals.

Each operation of an expression is relaxed by intervals: products by ``Interval.__mul__``, functions in
``interval_functions``. Matrix products are those of ``Ball``. Affine forms bound whole functions by mean-value forms;
they are not multiplied with each other.
"""
