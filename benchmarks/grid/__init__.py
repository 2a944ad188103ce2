"""How much an sCT depends on padding, cropping and where the volume happens to end."""
