"""The dose room: physics on small phantoms, refusals, outputs."""
