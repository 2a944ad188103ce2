"""Does the same give the same: by seed, threads, workers, batches, cores, order and processes; and does memory grow?"""
