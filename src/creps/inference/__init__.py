"""Run a generator over overlapping patches and fuse their predictions slab by slab."""
