"""Records runs in MLflow. No other package imports MLflow. The import takes 1.5 s, so it is inside functions.

The files of a run are the source of all records. So a run never waits for MLflow, and no record is lost while MLflow is
unreachable. `records` reads the files, `synchronise` writes the records that MLflow lacks, and `mirror` calls it from a
thread during a run.
"""
