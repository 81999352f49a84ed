"""Splits texts into words like spaCy's English tokenizer, for a whole batch in one pass.

datatrove counts the tokens of spaCy's blank English tokenizer. Its published thresholds apply only if words are split
in the same way. This module reproduces the split by arithmetic on the few characters (about one in twenty) that are not
a letter, a digit or a space:

1. A chunk is a run of characters without white space.
2. Marks are peeled off both ends of the chunk one by one, and each becomes a separate word: punctuation, quotes,
   brackets, currency signs and symbols; currency signs and `%` also after a digit (`50` `%`); and a full stop, unless
   it belongs to an abbreviation or to initials (`e.g.`, `U.S.`).
3. The rest of the chunk is split at these marks, and each mark becomes a separate word: a hyphen, dash, `~` or comma
   between letters; `: < > = /` before a letter; an operator between digits; a full stop between a small and a capital
   letter; symbols; two or more full stops. Web addresses are not split.
4. Contractions are split: `do` `n't`, `we` `'ll`, `it` `'s`.

The split finds 99.9 % of spaCy's words in novels and textbooks, 99.8 % in Rust RFCs and 99.5 % in PEPs. It differs in
emoticons (`:)` and `):` are two words here), units after a number (`5km` is one word), contractions without an
apostrophe (`cannot` is one word), addresses without `://`, and spaCy's list of rare special cases (`and/or`, `Ph.D.`).

Cost: 20 ns per character.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from bessemer.clean.characters import DIGIT, ICON, JOINT, LETTER, LOWER, MARK, OPEN, PEEL, RUN, SPACE, UPPER
from bessemer.clean.spans import Array, PieceHashes, Spans, hash_of

_ABBREVIATIONS = """Mt Ak Ala Apr Ariz Ark Aug Calif Colo Conn Dec Del Feb Fla Ga Ia Id Ill Ind Jan Jul Jun Kan Kans
Ky La Mar Mass Mich Minn Miss Neb Nebr Nev Nov Oct Okla Ore Pa Sep Sept Tenn Va Wash Wis a.m Adm Bros co Co Corp Dr
e.g E.g Gen Gov i.e I.e Inc Jr Ltd Md Messrs Mo Mont Mr Mrs Ms p.m Prof Rep Rev Sen St vs v.s"""


def find_words(codes: Array, flags: Array, chunks: Spans, hashes: PieceHashes) -> tuple[Array, Array]:
    """(starts, ends) of all words, in order. The last character must be a line feed."""
    starts, ends = _marks(codes, flags)
    code, flag, before, after = codes[starts], flags[starts], flags[starts - 1], flags[ends]
    chunk = np.searchsorted(chunks.starts, starts, "right") - 1
    ellipsis = (code == ord("…")) | ((code == ord(".")) & (ends - starts > 1))
    plus = code == ord("+")

    peel = (flag & PEEL != 0) | ellipsis
    leads = peel | (flag & OPEN != 0) | (plus & (after & DIGIT == 0))
    leading = _reached(leads, starts == chunks.starts[chunk], starts[1:] == ends[:-1])
    heads = chunks.starts + np.bincount(chunk[leading], (ends - starts)[leading], len(chunks.starts)).astype(np.int64)

    stop = _full_stops(codes, flags, hashes, starts, ends, heads[chunk])
    trails = peel | stop | (((flag & OPEN != 0) | plus) & (before & DIGIT != 0))
    trailing = _reached(trails[::-1], (ends == chunks.ends[chunk])[::-1], (starts[1:] == ends[:-1])[::-1])[::-1]
    tails = chunks.ends - np.bincount(chunk[trailing], (ends - starts)[trailing], len(chunks.starts)).astype(np.int64)

    inner = ~(leading | trailing)
    inside = _joints(codes, flags, starts, ends) | (flag & ICON != 0) | ellipsis
    alone = ~inner | (inside & ~_in_address(codes, starts, ends, chunk, inner))

    begins = np.zeros(len(codes) + 1, bool)
    begins[chunks.starts] = True
    begins[starts[alone]] = True
    begins[ends[alone]] = True
    begins[_contractions(codes, starts, heads[chunk], tails[chunk])] = True
    begins[chunks.ends] = True
    edges = np.flatnonzero(begins)
    is_word = flags[edges[:-1]] & SPACE == 0
    return edges[:-1][is_word], edges[1:][is_word]


def _marks(codes: Array, flags: Array) -> tuple[Array, Array]:
    """(starts, ends) of all marks. A mark is one character, or a run of full stops, of hyphens or of dashes."""
    positions = np.flatnonzero(flags & MARK != 0)
    code = codes[positions]
    joins = (code[1:] == code[:-1]) & (np.diff(positions) == 1) & (flags[positions[1:]] & RUN != 0)
    first, last = np.ones((2, len(positions)), bool)
    first[1:], last[:-1] = ~joins, ~joins
    return positions[first], positions[last] + 1


def _reached(good: Array, edge: Array, adjacent: Array) -> Array:
    """Mask of the marks that are connected to the edge of their chunk by adjacent good marks only."""
    if not len(good):
        return good
    fresh = edge | ~good
    fresh[1:] |= ~adjacent
    fresh[0] = True
    origin = np.maximum.accumulate(np.where(fresh, np.arange(len(good)), 0))
    result: Array = (good & edge)[origin]
    return result


def _full_stops(codes: Array, flags: Array, hashes: PieceHashes, starts: Array, ends: Array, heads: Array) -> Array:
    """Whether a full stop at the end of a chunk is a separate word: not in `e.g.`, `U.S.`, `J.`, `b.`."""
    stop = np.zeros(len(starts), bool)
    dots = np.flatnonzero((codes[starts] == ord(".")) & (ends - starts == 1))
    starts, heads = starts[dots], heads[dots]
    last, before = codes[starts - 1], flags[starts - 1]
    alone = before & (LOWER | DIGIT | PEEL) != 0
    alone |= _one_of(last, "%²-+")
    alone |= (before & UPPER != 0) & (flags[starts - 2] & UPPER != 0)
    alone &= ~((starts - heads == 1) & (before & LOWER != 0) & (last < 128))
    stems = hashes(np.minimum(heads, starts), starts)
    known = _abbreviations()  # sorted; a search for a larger value returns the last index
    alone &= known[np.searchsorted(known[:-1], stems)] != stems
    stop[dots] = alone
    return stop


def _joints(codes: Array, flags: Array, starts: Array, ends: Array) -> Array:
    """Mask of the marks that split the middle of a chunk. The characters on both sides decide."""
    code, before, after = codes[starts], flags[starts - 1], flags[ends]
    letter_follows = after & LETTER != 0
    alphanumeric_precedes = before & (LETTER | DIGIT) != 0
    cut: Array = (flags[starts] & JOINT != 0) & alphanumeric_precedes & letter_follows & (ends - starts <= 3)
    cut |= (code == ord(",")) & (before & LETTER != 0) & letter_follows
    cut |= _one_of(code, "+-*^") & (before & DIGIT != 0) & ((after & DIGIT != 0) | (codes[ends] == ord("-")))
    cut |= (code == ord(".")) & (before & LOWER != 0) & (after & UPPER != 0)
    return cut


def _in_address(codes: Array, starts: Array, ends: Array, chunk: Array, inner: Array) -> Array:
    """Mask of the marks in web addresses: the first mark inside their chunk is the colon of `://`."""
    mine = np.flatnonzero(inner)
    first = mine[np.diff(chunk[mine], prepend=-1) != 0]
    schemes = first[(codes[starts[first]] == ord(":")) & (codes[ends[first]] == ord("/"))]
    return np.isin(chunk, chunk[schemes])


def _contractions(codes: Array, starts: Array, heads: Array, tails: Array) -> Array:
    """Positions at which the second word of a contraction starts: the `n` of `don't`, the apostrophe of `it's`."""
    chosen = _one_of(codes[starts], "'’") & (starts > heads) & (tails - starts >= 2) & (tails - starts <= 3)
    starts, tails = starts[chosen], tails[chosen]
    one, first, second = tails - starts == 2, codes[starts + 1], codes[starts + 2]
    negative = one & (first == ord("t")) & (codes[starts - 1] == ord("n"))
    verb = one & _one_of(first, "smdSMD")
    for ending in ("ll", "re", "ve"):
        verb |= ~one & (first == ord(ending[0])) & (second == ord(ending[1]))
    return np.concatenate([starts[negative] - 1, starts[verb]])


def _one_of(codes: Array, characters: str) -> Array:
    found: Array = np.any([codes == ord(character) for character in characters], axis=0)
    return found


@cache
def _abbreviations() -> Array:
    return np.array(sorted(hash_of(stem) for stem in _ABBREVIATIONS.split()), np.uint64)
