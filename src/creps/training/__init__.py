"""Patch sampling, the training step, and the loop that runs it."""
