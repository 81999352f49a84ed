"""One trainer for every objective: exact after any failure, the same batches on any number of workers."""
