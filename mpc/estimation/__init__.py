"""Estimation over a moving horizon."""
