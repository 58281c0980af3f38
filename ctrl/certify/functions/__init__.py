"""Lyapunov functions with enclosures of value, gradient and Hessian: quadratic, expressions, networks."""
