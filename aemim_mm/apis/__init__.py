"""Encoders and models by name, for code that uses this package as a library."""
