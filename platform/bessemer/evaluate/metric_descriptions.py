"""The metrics of all kinds of tasks: unit, meaning and source. Does not import torch.

A score also has a standard error, the number of items, and the chance level if it is known (`scores.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from bessemer.artifacts.descriptions import Metric
from bessemer.evaluate.kinds import KINDS

METRICS: Mapping[str, Metric] = {name: metric for kind in KINDS for name, metric in kind.descriptions.items()} | {
    "contaminated": Metric("1", "Share of items that were found in the training text."),
}
"""By name. `<metric>`, `<label>` and `<k>` are values of the task's settings."""
