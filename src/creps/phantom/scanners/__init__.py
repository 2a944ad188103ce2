"""Simulated MR and CT scanners."""
