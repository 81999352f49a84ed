"""Separates operators from formatting marks among the signs of a text.

`a * b`, `i++`, `x <= -1`, `C#` and `(-x)` have operators. `**bold**`, `* item`, `> quoted`, `well-known`, `Title ====`
and `word - word` have none. A run of signs is one operator or none:

- Between two operands, it is an operator if it has blanks on both sides or on neither (`x * 3`, `x<=y`). For `+`, `<`,
  `=` and `>` the blanks do not matter. An operand is a letter, a digit, a symbol, a bracket, a quotation mark, or
  another sign that is attached to one, as in `x = -y`. A dash also needs a number, a LaTeX command, or two operands
  that are single letters or brackets.
- Directly before an operand, it is an operator in three cases: the operand is a number (`-5`, `<=7`); the run is `++`,
  `!`, `&`, `~` or `^` (`!done`); it follows an operator or an opening bracket (`= *p`, `(-x)`).
- Directly after an operand, it is an operator if it is `++` or `#`, or `--` at the end of an expression (`i--;`), or
  `!` after a number.
- `$` is an operator next to a number or by itself. `$x$` is a LaTeX formula.

A bracket next to an operator is a word too, because `2 * (3 + 4)` is not `(2 * 3) + 4`. So is a bracket between blanks,
and `<` or `>` between blanks and next to such brackets, as in `[ { < > } ]`.

Cost: 50 array operations per chunk of text, and one cached call per run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bessemer.dedup.unicode_folding import (
    AMPERSAND,
    BACKSLASH,
    BANG,
    BAR,
    BLANK,
    CARET,
    CLASSES,
    CLOSING,
    CLOSING_QUOTE,
    COLON,
    COMPARISON,
    COMPOSES,
    DASH,
    DOLLAR,
    GAP,
    HASH,
    KIND_SHIFT,
    LETTER,
    LINE_END,
    NUMBER,
    OPENING,
    OPENING_QUOTE,
    PLUS,
    POINT,
    QUOTE,
    SEPARATOR,
    SIGN,
    STAR,
    SYMBOL,
    TILDE,
    UNSPACED,
)

_MOST_BLANKS = 8
"""Blanks between an operator and its operand, as in aligned assignments."""

_NOT, _UNARY, _BETWEEN = range(3)
"""Verdicts on a run."""

_BLANK, _OPENING, _CLOSING, _COMMAND = (kind << KIND_SHIFT | GAP for kind in (BLANK, OPENING, CLOSING, BACKSLASH))
_OUTWARDS = np.array([[-1], [1]])

_Indices = npt.NDArray[np.int64]


def mark_operators(properties: npt.NDArray[np.uint8], classes: npt.NDArray[np.uint8]) -> None:
    """Sets the class of each sign and point to SYMBOL or GAP, and that of brackets next to operators to SYMBOL.

    `properties` are the low bytes of the entries of `folding.table`. Both arrays begin and end with line feeds.
    """
    brackets = np.flatnonzero((properties == _OPENING) | (properties == _CLOSING))
    if len(brackets):
        alone = _SPACES[properties[brackets - 1]] & _SPACES[properties[brackets + 1]]
        classes[brackets[alone]] = SYMBOL
    points = np.flatnonzero(classes == POINT)
    decimal = (classes[points - 1] == NUMBER) & (classes[points + 1] == NUMBER)
    signs = np.flatnonzero(classes == SIGN)
    if len(signs):
        _mark_runs(signs, properties, classes)
    classes[points] = np.where(decimal, SYMBOL, GAP)


def _mark_runs(signs: _Indices, properties: npt.NDArray[np.uint8], classes: npt.NDArray[np.uint8]) -> None:
    begins = np.flatnonzero(np.diff(signs, prepend=-9) > 1)
    lengths = np.diff(begins, append=len(signs))
    first = signs[begins]
    near = np.stack((first - 1, first + lengths))
    far = near
    for _ in range(_MOST_BLANKS):
        is_blank = properties[far] == _BLANK
        if not is_blank.any():
            break
        far = far + is_blank * _OUTWARDS
    kinds = np.bitwise_or.reduceat(1 << (properties[signs] >> KIND_SHIFT & 15).astype(np.int64), begins)
    facts = np.empty((len(first), 8), np.uint8)
    facts[:, 0:2], facts[:, 2:4] = properties[near].T, properties[far].T
    facts[:, 0:4] &= ~np.uint8(COMPOSES)
    facts[:, 4:6] = classes[far + _OUTWARDS].T
    facts.view(np.uint16)[:, 3] = kinds << 2 | np.minimum(lengths, 3)
    near_left, near_right, far_left, far_right = facts[:, :4].T
    after_sign = np.flatnonzero(far_left[1:] & CLASSES == SIGN) + 1
    before_sign = np.flatnonzero(far_right[:-1] & CLASSES == SIGN)
    facts[after_sign, 4] |= _TERMS[near_left[after_sign - 1]] * np.uint8(_ATTACHED)
    facts[before_sign, 5] |= _OPERANDS[near_right[before_sign + 1]] * np.uint8(_ATTACHED)
    verdicts = _verdicts(facts)
    after_operator = after_sign[verdicts[after_sign - 1] == _BETWEEN]
    facts[after_operator, 4] |= _AFTER_OPERATOR
    verdicts[after_operator] = _verdicts(facts[after_operator])
    brackets = (verdicts == _BETWEEN) & _BRACKETS[facts[:, 2:4].T]
    classes[far[brackets]] = SYMBOL
    classes[signs] = np.where(np.repeat(verdicts, lengths) == _NOT, GAP, SYMBOL)


def _verdicts(facts: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    keys, places = np.unique(facts.view(np.uint64)[:, 0], return_inverse=True)
    return np.array([_verdict(key) for key in keys.tolist()], np.uint8)[places]


class _Run(NamedTuple):
    """A run of signs and its neighbours, each as `kind << KIND_SHIFT | class`."""

    kinds: int
    """A bit per kind of sign in the run."""
    length: int
    """3 if longer."""
    near_left: int
    near_right: int
    """The characters next to the run."""
    left: int
    right: int
    """The next characters that are not blanks."""
    beyond_left: int
    beyond_right: int
    """The classes of the characters beyond those, and flags of `left` and `right`."""

    def consists_of(self, *kinds: int) -> bool:
        return not self.kinds & ~sum(1 << kind for kind in kinds)

    def contains(self, *kinds: int) -> bool:
        return bool(self.kinds & sum(1 << kind for kind in kinds))


_ATTACHED, _AFTER_OPERATOR = 0x08, 0x10
"""Flags in `left` and `right`: a sign that is attached to an operand, as in `i++ + -j`; an operator between
operands."""


@lru_cache(maxsize=1 << 16)
def _verdict(facts: int) -> int:
    near_left, near_right, left, right, beyond_left, beyond_right, *low_high = facts.to_bytes(8, "little")
    kinds, length = divmod(int.from_bytes(low_high, "little"), 4)
    run = _Run(kinds, length, near_left, near_right, left, right, beyond_left, beyond_right)
    if _is_between(run):
        return _BETWEEN
    return _UNARY if _is_prefix(run) or _is_suffix(run) or _is_unit(run) or _is_bracket(run) else _NOT


def _is_between(run: _Run) -> bool:
    if not (_ends_operand(run.left) or run.beyond_left & _ATTACHED):
        return False
    if not (_begins_operand(run.right) or run.beyond_right & _ATTACHED):
        return False
    close = run.near_left != _BLANK
    if close != (run.near_right != _BLANK) and not run.consists_of(PLUS, COMPARISON):
        return False
    numbers = (_class(run.left) == NUMBER) + (_class(run.right) == NUMBER)
    if run.consists_of(DASH):
        short = _is_short(run.left, run.beyond_left) and _is_short(run.right, run.beyond_right)
        return run.length == 1 and (numbers > 0 or short or run.right == _COMMAND)
    if run.consists_of(COLON) and run.length == 1:
        return close and numbers == 2
    return close or not run.consists_of(BANG)


def _is_prefix(run: _Run) -> bool:
    if not _begins_operand(run.near_right) or _ends_term(run.near_left):
        return False
    single = run.length == 1
    if _class(run.near_right) == NUMBER and not run.contains(STAR, BAR, COLON):
        return single or not run.consists_of(DASH, TILDE)
    if run.beyond_left & _AFTER_OPERATOR and single and run.consists_of(DASH, STAR):
        return True
    if _kind(run.near_left) == OPENING and single and run.consists_of(DASH):
        return True
    is_image = run.consists_of(BANG) and _kind(run.near_right) == OPENING and not run.beyond_left & _AFTER_OPERATOR
    return run.consists_of(PLUS, CARET) or (single and run.consists_of(BANG, AMPERSAND, TILDE) and not is_image)


def _is_suffix(run: _Run) -> bool:
    if not _ends_term(run.near_left) or _begins_operand(run.near_right):
        return False
    if run.consists_of(DASH):
        return run.length == 2 and _kind(run.near_right) in (SEPARATOR, CLOSING)
    if run.consists_of(HASH):
        return run.length == 1 and _class(run.near_left) == LETTER
    if run.consists_of(BANG):
        return run.length == 1 and _class(run.near_left) == NUMBER
    return run.consists_of(PLUS)


def _is_unit(run: _Run) -> bool:
    if not run.consists_of(DOLLAR) or run.length > 1:
        return False
    alone = not _ends_term(run.near_left) and not _begins_operand(run.near_right)
    return alone or NUMBER in (_class(run.left), _class(run.right))


def _is_bracket(run: _Run) -> bool:
    """Whether this is `<` or `>` used as a bracket next to other brackets, all between blanks."""
    if not run.consists_of(COMPARISON) or run.length > 1 or (run.near_left, run.near_right) != (_BLANK, _BLANK):
        return False
    return any(_kind(neighbour) in (OPENING, CLOSING) for neighbour in (run.left, run.right))


def _class(neighbour: int) -> int:
    return neighbour & CLASSES


def _kind(neighbour: int) -> int:
    """The kind of a character between words, or GAP."""
    return neighbour >> KIND_SHIFT if _class(neighbour) == GAP else GAP


def _is_operand(neighbour: int) -> bool:
    return _class(neighbour) in (LETTER, NUMBER, UNSPACED, SYMBOL)


def _ends_term(neighbour: int) -> bool:
    return _is_operand(neighbour) or _kind(neighbour) == CLOSING


def _ends_operand(neighbour: int) -> bool:
    return _is_operand(neighbour) or _kind(neighbour) in (CLOSING, QUOTE, CLOSING_QUOTE)


def _begins_operand(neighbour: int) -> bool:
    return _is_operand(neighbour) or _kind(neighbour) in (OPENING, QUOTE, OPENING_QUOTE, BACKSLASH)


def _is_short(neighbour: int, beyond: int) -> bool:
    """Whether an operand is a single letter, or ends in a bracket."""
    return (_class(neighbour) == LETTER and _class(beyond) != LETTER) or _kind(neighbour) in (OPENING, CLOSING)


def _lookup(condition: Callable[[int], bool]) -> npt.NDArray[np.bool_]:
    return np.array([condition(neighbour) for neighbour in range(128)])


_TERMS, _OPERANDS = _lookup(_ends_term), _lookup(_begins_operand)
_SPACES = np.append(_lookup(lambda neighbour: _kind(neighbour) in (BLANK, LINE_END)), np.zeros(128, np.bool_))
_BRACKETS = _lookup(lambda neighbour: _kind(neighbour) in (OPENING, CLOSING))
