"""Claims about sublevel sets of Lyapunov functions, and certificates: a claim and what became of it."""
