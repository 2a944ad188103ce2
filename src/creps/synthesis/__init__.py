"""From an MR to a synthetic CT: find the MR, synthesize it, write the result; one MR or many."""
