"""From scanner units on a scanner's grid to network units on the model's grid, and back."""
