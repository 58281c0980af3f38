"""Base learners, one per file, which maximise the reward.

The targets of reward critics are computed in the ``update`` of each learner, and those of cost critics by
``OffPolicy.cost_targets``; PPO computes both in ``_collect``.
"""
