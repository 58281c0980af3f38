"""Base learners, one per file, which maximise the reward."""
