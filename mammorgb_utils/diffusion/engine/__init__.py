"""What a reader of the method need not read: checkpoints, processes, the base, stores of samples."""
