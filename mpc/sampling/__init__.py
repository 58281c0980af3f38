"""Predictive control by sampling: roll-outs of random inputs in place of derivatives."""
