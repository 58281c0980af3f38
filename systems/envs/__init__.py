"""Environments of a task: the rules of a sample, a Gymnasium environment, and a batched simulator in torch.

What a sample costs, also one that leaves the domain, is defined in ``model.py`` for environments and the closed loop.
"""
