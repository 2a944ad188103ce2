"""Spoilt volumes, tables, settings, documents and model folders through the command line."""
