"""From an MR to a synthetic CT: the recipe, files, many MRs, export."""
