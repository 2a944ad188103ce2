"""Transcranial ultrasound: acoustic maps of an sCT, for the programs that simulate it. Volumes in, no model."""
