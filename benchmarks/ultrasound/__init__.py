"""How good sCTs are for transcranial ultrasound: errors in head and skull, thickness of the skull along rays."""
