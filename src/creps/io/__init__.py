"""Reading and writing: the only place where (x, y, z) order exists."""
