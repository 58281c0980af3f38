"""Linear MPC whose prediction ends on an artificial reference: a harmonic, a steady state, or the reference itself."""
