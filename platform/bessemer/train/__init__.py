"""One trainer for every objective. It resumes exactly after a failure, and sees the same batches on any number of
workers."""
