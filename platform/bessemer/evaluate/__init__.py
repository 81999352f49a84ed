"""Evaluates models on tasks and reports scores with standard errors.

A task declares a dataset, a prompt and metrics. `task.py` is the interface of a kind of task, and each file of `kinds/`
is one kind. A task reads its items and returns its scores and one row per item.
"""
