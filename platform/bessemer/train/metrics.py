"""The metrics of a run: one JSON line per recorded step, each figure once.

Each attempt of a run appends to its own file in a shared folder. A resumed run repeats the steps after its checkpoint.
Figures that an earlier attempt recorded for these steps are not written again. Together, the files hold every figure
once, with the time at which it was first reached.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bessemer import storage


@dataclass
class MetricsLog:
    """Appends to `file`. Figures that any file in its folder already holds are skipped."""

    file: Path
    _recorded: set[tuple[int, str]] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        if self.file.exists() and not self.file.read_bytes().endswith(b"\n"):
            with self.file.open("ab") as file:  # ends the line that a killed worker left incomplete
                file.write(b"\n")
        for other in sorted(self.file.parent.glob("*.jsonl")):
            for line in storage.read_lines(other):
                self._recorded.update((line["step"], name) for name in line["metrics"])

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Records those figures of `step` that were not recorded before."""
        new = {name: value for name, value in metrics.items() if (step, name) not in self._recorded}
        if new:
            self._recorded.update((step, name) for name in new)
            storage.append_line(self.file, {"step": step, "timestamp": time.time_ns() // 10**6, "metrics": new})
