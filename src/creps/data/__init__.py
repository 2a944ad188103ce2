"""Where images come from, prepared cohorts, and the index arithmetic of patches."""
