"""Evaluates models on tasks and reports scores with standard errors.

A task is a small declaration (`kinds.py`). `run.py` runs it and returns scores and one row per item.
"""
