"""The models that ship with creps, a folder each, and how a name leads to one of them. Nothing here loads torch."""
