"""The stages, one per file; `engine` holds what they share. Heavy libraries are imported only when a stage runs."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bessemer.stages.base import Stage

_NOT_STAGES = {"__init__", "base"}


def kinds() -> list[str]:
    """Returns the names of all stages, sorted."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in _NOT_STAGES)


def load(kind: str) -> Stage:
    """Returns the stage named `kind`. Raises KeyError if there is no such stage."""
    if kind not in kinds():
        raise KeyError(kind)
    stage: Stage = importlib.import_module(f"bessemer.stages.{kind}").STAGE
    return stage


def title(kind: str) -> str:
    """Returns a one-line description of the stage `kind`: the first sentence of its module's docstring."""
    described = importlib.import_module(f"bessemer.stages.{kind}").__doc__ or ""
    first = described.strip().partition("\n\n")[0].removeprefix(f"{kind}: ")
    return re.split(r"\.(?:\s|$)", " ".join(first.split()))[0]
