"""What of a patient gets where it should not."""
