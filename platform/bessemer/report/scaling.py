"""A fitted scaling law, as the stage `scaling_law` leaves it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bessemer import storage


@dataclass(frozen=True)
class Law:
    metric: str
    irreducible: float
    coefficient: float
    exponent: float
    left_out: list[dict[str, Any]]
    points: list[dict[str, Any]]

    def loss(self, compute: float) -> float:
        return float(self.irreducible + self.coefficient * compute**-self.exponent)


def read_laws(data: Path) -> list[Law]:
    """The law in an artifact, if it holds one."""
    law, points = storage.read_json(data / "law.json"), storage.read_json(data / "points.json")
    return [Law(**law, points=points)] if law and points else []
