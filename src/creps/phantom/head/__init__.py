"""The digital head."""
