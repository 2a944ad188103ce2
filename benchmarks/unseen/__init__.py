"""Phantoms of another family than those creps ships: a yardstick that nothing is chosen by."""
