"""Reads the step metrics of a training stage."""

from __future__ import annotations

from pathlib import Path

from bessemer import storage

Curve = list[tuple[float, float]]


def read_curves(files: list[Path]) -> dict[str, Curve]:
    """Reads (step, value) points per metric, in the order of steps. If a step was repeated, its first value counts."""
    found: dict[str, dict[int, float]] = {}
    for path in files:
        for line in storage.read_lines(path):
            for name, value in line["metrics"].items():
                found.setdefault(name, {}).setdefault(line["step"], value)
    return {name: [(float(step), value) for step, value in sorted(points.items())] for name, points in found.items()}
