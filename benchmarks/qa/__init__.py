"""Seeded failures: what the QA of an sCT catches, misses and wrongly reports."""
