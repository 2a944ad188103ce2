"""Cases spread over the nodes of a SLURM cluster: options, jobs, and the folder that they share with this process."""
