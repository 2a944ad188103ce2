"""Inputs that hospitals really have, through the command line."""
