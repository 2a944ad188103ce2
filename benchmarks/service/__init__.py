"""Campaigns on the service: kills, many series in a row, fuzzed associations."""
