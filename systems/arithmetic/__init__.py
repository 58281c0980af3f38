"""Numbers that bound what they stand for: intervals, balls, affine forms and exact rationals, rounded outward."""
