"""Image metrics: plain functions on arrays."""
