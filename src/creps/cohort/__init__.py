"""Prepared cohorts: sources found, cases prepared, screened, split and inspected."""
