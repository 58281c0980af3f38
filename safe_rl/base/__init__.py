"""Base learners, one per file: how a policy follows the reward."""
