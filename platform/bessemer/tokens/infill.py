"""The special tokens and the prompt for filling in the middle of a text (Bavarian et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass

from bessemer.tokens.special import FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX
from bessemer.tokens.tokenizer import TokenizerFolder


@dataclass(frozen=True)
class Sentinels:
    """Ids of the special tokens that mark the parts of a text: prefix, middle, suffix, and end of text."""

    prefix: int
    middle: int
    suffix: int
    end: int

    @classmethod
    def of(cls, tokenizer: TokenizerFolder) -> Sentinels | None:
        """The tokenizer's sentinels, or None if it lacks one."""
        prefix, middle, suffix = (tokenizer.special_id(name) for name in (FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX))
        if prefix is None or middle is None or suffix is None:
            return None
        return cls(prefix, middle, suffix, tokenizer.end_of_text_id)


def infill_prompt(tokenizer: TokenizerFolder, sentinels: Sentinels, before: str, after: str) -> list[int]:
    """The prompt that a model continues with the text between `before` and `after`."""
    return [
        sentinels.prefix, *tokenizer.encode(before), sentinels.suffix, *tokenizer.encode(after), sentinels.middle,
    ]  # fmt: skip
