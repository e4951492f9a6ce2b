"""Who waits: running a pipeline from a terminal, with progress and an exit code."""
