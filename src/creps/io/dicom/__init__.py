"""DICOM: series found, read and written. What a patient is called stays in here."""
