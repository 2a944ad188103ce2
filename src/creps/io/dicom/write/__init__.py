"""Write synthetic CTs and structure sets as DICOM."""
