"""The C code of predictive controllers."""
