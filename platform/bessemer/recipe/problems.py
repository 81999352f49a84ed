"""Problems of a recipe, reported all at once, each with its place, the expected value and the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bessemer.errors import RecipeError

MAX_SHOWN = 50
_COMPARED = 200


@dataclass(frozen=True)
class Problem:
    """One mistake: its description, its place (file and line, or the argument), and the fix."""

    message: str
    file: str = ""
    line: int | None = None
    excerpt: str = ""
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else (f"{self.file}: " if self.file else "")
        lines = [f"{place}{self.message}"]
        if self.excerpt.strip():
            lines.append(f"    {self.line or '':>4} | {self.excerpt}" if self.line else f"    {self.excerpt}")
        if self.hint:
            lines.append(f"    {self.hint}")
        return "\n".join(lines)


def raise_problems(problems: Sequence[Problem]) -> None:
    """Raises RecipeError if there are problems. Its message has the first `MAX_SHOWN`, its `problems` all of them."""
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        body = "\n\n".join(str(problem) for problem in problems[:MAX_SHOWN])
        if len(problems) > MAX_SHOWN:
            body += f"\n\n... and {len(problems) - MAX_SHOWN} more"
        error = RecipeError(
            f"the recipe has {count}\n\n{body}",
            hint="fix the recipe; `bessemer plan RECIPE` checks it without running",
        )
        error.problems = tuple(problems)
        raise error


def nearest(name: str, valid: Iterable[str]) -> str:
    """Returns `did you mean ...`, or the list of valid names if none is similar."""
    valid = sorted(valid)
    if len(name) > _COMPARED or len(valid) > _COMPARED:
        return ""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    return "valid names: " + ", ".join(f"`{v}`" for v in valid) if valid else ""
