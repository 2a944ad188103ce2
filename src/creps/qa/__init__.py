"""How far to trust an sCT that has no CT beside it: checks against its MR, and uncertainty."""
