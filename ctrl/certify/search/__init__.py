"""Branch and bound: decides a claim, finds the highest level that can be proved, says why a search was left open."""
