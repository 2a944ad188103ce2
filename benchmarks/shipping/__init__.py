"""Make a trained model one that ships with creps."""
