"""MLflow. No other part of Bessemer imports it; here it is imported inside functions, since that takes 1.5 s.

What is recorded is read from the files of a run, again and again, so a run never waits for MLflow and nothing is
lost when it cannot be reached: `records` reads the files, `synchronise` writes what MLflow lacks, `mirror` does
so from a thread while a run works.
"""
