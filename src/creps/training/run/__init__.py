"""A training run: its folder, record, lock, monitor and starting point."""
