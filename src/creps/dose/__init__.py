"""Dose: the same plan on a CT and on its synthetic CT, computed by a real engine, and how far apart they are."""
