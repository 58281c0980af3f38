"""Branch and bound: decides a claim, finds the highest provable level, and explains why a search was inconclusive."""
