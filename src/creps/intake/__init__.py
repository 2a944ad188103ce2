"""Intake checks: does this MR suit this model? Done before a synthesis, each finding with its reason."""
