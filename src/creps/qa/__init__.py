"""How far to trust an sCT without a CT. Takes volumes and arrays, never the model."""
