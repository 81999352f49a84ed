"""The progress of a run, for a person: one live table on a terminal, a line every 30 seconds elsewhere.

Everything goes to standard error; standard output is for data.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bessemer.credentials import redact
from bessemer.formatting import format_count, format_number, format_rate, format_seconds
from bessemer.terminal import printable

LINE_SECONDS = 30.0
WINDOW_SECONDS, FEWEST_SAMPLES = 30.0, 4
"""The period over which a rate is measured, and the minimum number of reports for it if reports are rare."""
SHORTEST_SECONDS = 0.5
"""The minimum period of a rate, because a rate over less time is noise."""


@dataclass
class StageProgress:
    """The progress of one stage."""

    name: str
    state: str = "waiting"
    note: str = ""
    done: float = 0
    total: float = 0
    unit: str = ""
    started: float = 0.0
    samples: deque[tuple[float, float]] = field(default_factory=deque)
    """Recent values of (time, done), oldest first. The rate is that of the last 30 seconds."""
    seconds: float = 0.0
    facts: dict[str, str] = field(default_factory=dict)

    def describe(self) -> str:
        """`120 of 900 pages, 41 pages/s, 19s left`."""
        if self.state != "running" or not self.unit:
            return self.note
        parts = [
            f"{format_count(self.done)} of {format_count(self.total)} {self.unit}"
            if self.total
            else f"{format_count(self.done)} {self.unit}"
        ]
        rate = self.rate
        if rate:
            parts.append(format_rate(rate, self.unit))
            if self.total > self.done:
                parts.append(f"{format_seconds((self.total - self.done) / rate)} left")
        parts += [f"{key} {value}" for key, value in self.facts.items()]
        return ", ".join(parts)

    @property
    def rate(self) -> float:
        """Units per second, excluding the time before the first unit; 0 if unknown."""
        if len(self.samples) < 2:
            return 0.0
        (begin, first), (end, last) = self.samples[0], self.samples[-1]
        return (last - first) / (end - begin) if end - begin >= SHORTEST_SECONDS else 0.0

    def advance(self, done: float, total: float, unit: str) -> None:
        """Adds a report. A lower count or another unit starts a new rate."""
        now = time.monotonic()
        if unit != self.unit or total != self.total or done < self.done:
            self.samples.clear()
        self.done, self.total, self.unit = done, total, unit
        self.samples.append((now, done))
        while len(self.samples) > FEWEST_SAMPLES and now - self.samples[1][0] >= WINDOW_SECONDS:
            self.samples.popleft()


class Display:
    """Shows the progress of a run as lines. Base class of the live table."""

    def __init__(self, stages: list[str]) -> None:
        self.stages = {name: StageProgress(name) for name in stages}
        self._last_line = time.monotonic()
        self._lock = threading.Lock()

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def say(self, line: str) -> None:
        print(printable(redact(line)), file=sys.stderr, flush=True)

    def started(self, name: str, why: str) -> None:
        stage = self.stages[name]
        stage.state, stage.note, stage.started = "running", why, time.monotonic()
        self.say(f"{name}: started ({why})")

    def progress(self, name: str, done: float, total: float, unit: str, facts: dict[str, Any]) -> None:
        stage = self.stages[name]
        stage.advance(done, total, unit)
        stage.facts = {
            k: format_number(value) if isinstance(value, float) else str(value) for k, value in facts.items()
        }
        with self._lock:
            if time.monotonic() - self._last_line >= LINE_SECONDS:
                self._last_line = time.monotonic()
                self.say(f"{name}: {stage.describe()}")

    def finished(self, name: str, state: str, note: str, seconds: float) -> None:
        stage = self.stages[name]
        stage.state, stage.note, stage.seconds = state, note, seconds
        took = f" in {format_seconds(seconds)}" if state != "reused" else ""
        self.say(f"{name}: {state}{took}{': ' + note if note else ''}")


class LiveDisplay(Display):
    """One live table, redrawn four times per second."""

    def __init__(self, stages: list[str]) -> None:
        super().__init__(stages)
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True)
        self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=4)

    def __enter__(self) -> Display:
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.__exit__(None, None, None)

    def say(self, line: str) -> None:
        if not line.startswith(tuple(f"{name}: " for name in self.stages)):
            self._console.print(printable(redact(line)), markup=False, highlight=False)

    def _table(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 1), show_header=False, pad_edge=False)
        marks = {"waiting": "·", "running": "▸", "finished": "✓", "reused": "=", "failed": "✗", "stopped": "‖"}
        styles = {"waiting": "dim", "running": "bold", "failed": "bold red", "finished": "green", "reused": "cyan"}
        for stage in self.stages.values():
            seconds = time.monotonic() - stage.started if stage.state == "running" else stage.seconds
            table.add_row(
                marks.get(stage.state, " "),
                stage.name,
                stage.state,
                format_seconds(seconds) if seconds else "",
                Text(printable(redact(stage.describe()))),
                style=styles.get(stage.state),
            )
        return table


def make_display(stages: list[str]) -> Display:
    """The live table on a terminal, lines elsewhere."""
    return LiveDisplay(stages) if sys.stderr.isatty() else Display(stages)


@contextlib.contextmanager
def native_errors_to(path: Path) -> Iterator[None]:
    """Redirects the standard error of compiled code to a file, while Python continues to write to the terminal.

    Ray's C++ code bypasses Python's logging. It writes a message for every actor pool and every process that ends.
    """
    if sys.__stderr__ is None or sys.stderr is not sys.__stderr__ or sys.stderr.fileno() != 2:
        yield  # standard error is already redirected
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    terminal = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
    with path.open("ab") as log:
        os.dup2(log.fileno(), 2)
    before, sys.stderr = sys.stderr, terminal
    try:
        yield
    finally:
        sys.stderr = before
        os.dup2(terminal.fileno(), 2)
        terminal.close()
