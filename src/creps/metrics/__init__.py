"""Image metrics: functions on arrays (D, H, W); ``docs/reference/metrics.md`` gives every definition."""
