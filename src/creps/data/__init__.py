"""Prepared cohorts and the index arithmetic of patches; no images are interpreted here."""
