"""Checkpoint files.

``reading`` reads them without running code. ``fit`` compares them with a model. ``files`` writes them whole.
"""
