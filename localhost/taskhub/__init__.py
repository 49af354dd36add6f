"""Where it is kept: the task hub in Azure Storage, and nothing else."""
