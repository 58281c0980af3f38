"""Back-ends of the control step, one per file, for quadratic, nonlinear and cone programs."""
