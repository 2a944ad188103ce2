"""What happens to damaged DICOM series?"""
