"""How well uncertainty and predicted error hold: other seeds, other regions, another family, real scans."""
