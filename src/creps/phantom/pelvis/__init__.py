"""The digital pelvis."""
