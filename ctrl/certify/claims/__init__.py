"""Claims about sublevel sets of Lyapunov functions, and certificates: claims with the results of their searches."""
