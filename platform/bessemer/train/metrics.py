"""The record of a run: one JSON line a step, never the same figure twice.

Each attempt of a run appends to a file of its own in one folder. A continued run goes back to a checkpoint and does
some steps again; what an earlier attempt recorded of them is not written again, so the files together hold every
point once, with the time it was first reached.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bessemer import storage


@dataclass
class MetricsLog:
    """Appends to `file`; knows what the other files of its folder hold."""

    file: Path
    _recorded: set[tuple[int, str]] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        if self.file.exists() and not self.file.read_bytes().endswith(b"\n"):
            with self.file.open("ab") as file:  # the line that a killed worker did not finish
                file.write(b"\n")
        for other in sorted(self.file.parent.glob("*.jsonl")):
            for line in storage.read_lines(other):
                self._recorded.update((line["step"], name) for name in line["metrics"])

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Records the figures of `step` that were not recorded before."""
        new = {name: value for name, value in metrics.items() if (step, name) not in self._recorded}
        if new:
            self._recorded.update((step, name) for name in new)
            storage.append_line(self.file, {"step": step, "timestamp": time.time_ns() // 10**6, "metrics": new})
