"""Outward-rounded bounds on the change of a Lyapunov function over boxes of states, on which proofs rest."""
