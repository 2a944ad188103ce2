"""Loss terms: the CREPs style loss and the adversarial objectives."""
