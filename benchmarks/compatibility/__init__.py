"""Two versions side by side, other Pythons, lowest versions. See README.md."""
