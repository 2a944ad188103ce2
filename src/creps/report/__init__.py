"""Reports as one HTML file each, with a JSON beside it: a case, a cohort, a training run. They open offline."""
