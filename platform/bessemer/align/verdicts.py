"""The verdicts of `pairs`: why a prompt gives no preference pair. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping

from bessemer.artifacts.descriptions import Reason

RULES: Mapping[str, Reason] = {
    "too_long": Reason("The prompt leaves no room for an answer.", "context length - `max_completion_length`"),
    "no_column": Reason("The row lacks a column that a reward reads."),
    "no_reward": Reason("No reward gave an answer a number."),
    "never_ends": Reason("The best answers all end at the length limit, so none can be preferred."),
    "no_spread": Reason("The best and the worst answer have almost the same reward.", "`min_margin`"),
}
"""The rules that remove a prompt, by their name in the ledger."""
