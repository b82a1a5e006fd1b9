"""Checkpoint files: read without running code (reading), compared with a model (fit), written whole (files)."""
