"""Unpaired sampling, the two update steps, and the loop that runs them."""
