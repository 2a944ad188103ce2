"""Read DICOM series."""
