"""What the benchmarks share: timing, memory and the machine they ran on."""
