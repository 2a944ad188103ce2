"""Loss functions on tensors: the CREPs style loss, adversarial, contrastive and L1; nothing about training."""
