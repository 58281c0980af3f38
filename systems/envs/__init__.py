"""Environments of a task: the rules of a sample, a Gymnasium environment, and a batched simulator in torch."""
