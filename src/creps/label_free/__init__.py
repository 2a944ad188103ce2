"""Quality of a synthetic CT without a paired CT."""
