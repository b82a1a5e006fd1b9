"""Functions for code that uses this package as a library: encoders and models from checkpoints."""
