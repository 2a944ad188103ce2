"""A DICOM node: it receives MRs by C-STORE and files them."""
