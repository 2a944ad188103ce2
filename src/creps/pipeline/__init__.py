"""The main path, one file per verb; steps never import each other."""
