"""Is this MR one for this model? Asked before a synthesis, answered with reasons."""
