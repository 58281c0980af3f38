"""Back-ends of the control step, one per file: quadratic, nonlinear and cone programs."""
