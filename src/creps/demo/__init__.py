"""The demonstration: phantoms, baselines without a network, and the shipped model."""
