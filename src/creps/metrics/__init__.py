"""Image metrics: plain functions on arrays (D, H, W); every definition is in ``docs/reference/metrics.md``."""
