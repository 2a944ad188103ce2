"""Loss terms: the CREPs style loss, adversarial, contrastive and others; plain functions on tensors."""
