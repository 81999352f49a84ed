"""What a model can do, as numbers with their standard errors.

A task is a small declaration (`tasks.py`); `run.py` carries it out and answers with scores and one row an item.
"""
