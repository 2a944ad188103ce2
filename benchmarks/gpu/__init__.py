"""One command that measures creps on a GPU within minutes: see README.md beside this file."""
