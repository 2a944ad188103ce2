"""PET/MR: the attenuation map at 511 keV of an sCT, on the grid of a PET. Volumes in, no model."""
