"""`code_quality@bigcode`: removes generated program files and files of data.

The limits on line length are those of Codex (Chen et al., 2021, section 3.1), because minified and generated files have
long lines. The limit on alphanumeric characters is that of The Stack and StarCoder (Li et al., 2023), because files of
data have few letters and digits.

Cost: 10 ns per character.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from bessemer.clean.characters import DIGIT, LETTER
from bessemer.clean.rules import Findings, Rule
from bessemer.clean.texts import Texts, ratio


class CodeQuality(Rule):
    """Removes program files with long lines or few letters and digits (`code_quality@bigcode`)."""

    source: ClassVar[str] = "Codex (Chen et al., 2021), The Stack (Li et al., 2023)"

    rule: Literal["code_quality"] = "code_quality"
    min_lines: int | None = 1
    """Minimum number of lines that are not blank; 1 removes empty files."""
    max_longest_line: int | None = 1000
    """Maximum number of characters in the longest line."""
    max_mean_line_length: float | None = 100
    """Maximum mean length of the lines, including blank ones, in characters. Lines are those of `str.splitlines`."""
    min_alphanumeric_ratio: float | None = 0.25
    """Minimum share of characters that are letters or digits."""

    def apply(self, texts: Texts) -> Findings:
        lines = texts.split_lines
        longest = np.zeros(len(texts), np.int64)
        np.maximum.at(longest, lines.owners, lines.lengths)
        first, after = texts.chunk_range(lines)
        alphanumeric = np.zeros(len(texts.codes) + 1, np.int64)
        np.cumsum(texts.flags & (LETTER | DIGIT) != 0, out=alphanumeric[1:])
        return Findings(
            {
                "lines": texts.counts(lines, after > first),
                "longest_line": longest.astype(np.float64),
                "mean_line_length": ratio(texts.totals(lines, lines.lengths), texts.counts(lines)),
                "alphanumeric_ratio": ratio(alphanumeric[texts.ends] - alphanumeric[texts.starts], texts.lengths),
            }
        )
