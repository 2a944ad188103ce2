"""Kills at random moments: nothing half-written under a final name, no litter, the same result in the end."""
