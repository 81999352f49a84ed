"""Finds e-mail addresses.

A candidate is an `@` (also `＠`, and `%40` in URLs) with a local part before it and a host name after it. The host
must end in a top-level domain of the Public Suffix List. This excludes `image@2x.png`, `getty@tty1.service` and
`W@x.mean()`. The host ends before another script (`wang@example.com我们`) and before a capital that starts the next
sentence (`bob@example.com.Please`).

These are not personal addresses: logins of services (`git@github.com`, `root@host`), logins after `ssh` or in
`host:path` of `scp`, the user of a URL (`ssh://bob@host`), and a matrix product with a method (`q@k.to(device)`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np

from bessemer.clean.lookalikes import ascii_lookalikes
from bessemer.clean.spans import Array

_BEFORE, _AFTER = 256, 256
"""Number of characters that are read before and after the sign; RFC 5321 allows 64 and 255."""

_LOCAL = re.compile(r"[^\W_][\w.%+'&!#$*/=?^`{|}~-]*\Z|_+[\w.%+'&-]*\Z")
_QUOTED = re.compile(r'"(?=[^"\n]*\w)[\w .+\'()&-]{1,64}"\Z')
_ESCAPED = re.compile(r"%(?:0[9AD]|2[0267C]|3[A-F]|5[BD])", re.I)
"""Escaped characters of a URL that end the text before an address: blanks, quotes, `:`, `<`, `=`, ..."""
_NOT_LATIN = r"[^\W\d_\u0000-\u024f\u1e00-\u1eff]"
_SCRIPT_CHANGE = re.compile(rf"{_NOT_LATIN}[.%+'&_-]*(?=[a-z\u00c0-\u024f]|(?<=[\u0e00-\u10ff\u1100-\u11ff\u1780-\u17ff"
                            r"\u2e80-\ud7ff\uf900-\ufaff])\d)", re.I)  # fmt: skip
_UNSPACED = re.compile(r"[\u0e00-\u109f\u1780-\u17ff\u2e80-\ud7ff\uf900-\ufaff]")
_LONGEST_UNSPACED_NAME = 8
"""Maximum length of a local part in a script without spaces. A longer one is a sentence."""

_FIRST_PIECE = re.compile(r"\w[\w-]*[.．﹒·][\w.．﹒·‐‑–-]*")
_LABELS = re.compile(r"[^\W_](?:[\w-]*)(?:\.[^\W_][\w-]*)+")
_PUNYCODE = re.compile(r"xn--[a-z0-9-]*[a-z0-9]", re.I)
_LETTERS = re.compile(r"[a-z]+", re.I)
_OTHER_SCRIPT = re.compile(r"[^\x00-\x7f]+")
_WORD_GOES_ON = re.compile(r"[a-z0-9\u00c0-\u024f]", re.I)

_RESERVED = frozenset({"example", "invalid", "local", "test"})
"""Top-level names that are not delegated, but occur in documentation and local networks."""
_GENERIC = frozenset({"com", "edu", "gov", "net", "org"})
"""Top-level domains below which few names are registered, so that `com.it` is not the end of a host."""
_FILE_ENDINGS = frozenset({"mov", "zip"})
"""Top-level domains that are file suffixes in nearly all texts."""
_METHODS = frozenset({"cat", "data", "dot", "ge", "gt", "int", "lt", "map", "ne", "new", "select", "to"})
"""Top-level domains that are methods of arrays."""
_SERVICES = frozenset({"cvs", "docker", "ec2-user", "git", "hg", "postgres", "root", "svn", "ubuntu", "vagrant"})

_LOGIN = re.compile(r"(?:\b(?:ssh|scp|sftp|rsync|mosh|sshfs|ssh-copy-id)\b[^\n|;]*[ =]|://[^\s/]*)\Z", re.I)
_REMOTE_PATH = re.compile(r":(?:~|[\w.-]*/|[\w.-]+\.git\b)")


def find_emails(joined: str, codes: Array) -> Iterator[tuple[int, int]]:
    """(start, end) of each address in `joined`, in no particular order; `codes` are its code points."""
    signs = (codes == ord("@")) | (codes == ord("%"))
    if not joined.isascii():
        signs |= (codes == ord("＠")) | (codes == ord("﹫"))
    for at in np.flatnonzero(signs).tolist():
        length = 1 if joined[at] != "%" else 3 * joined.startswith("40", at + 1)
        if length and (found := _find_around(joined, at, at + length)):
            yield found


def _find_around(joined: str, at: int, after: int) -> tuple[int, int] | None:
    """(start, end) of the address whose sign is `joined[at:after]`, or None."""
    end = _host_end(joined, after)
    start = None if end is None else _local_start(joined, at)
    if start is None or end is None:
        return None
    if joined[start] == "_" == joined[end : end + 1]:  # emphasis in Markdown
        start += 1
    local = joined[start:at]
    line = joined[max(joined.rfind("\n", 0, start) + 1, start - 80) : start]
    if (
        local.lower() in _SERVICES
        or _LOGIN.search(line)
        or _REMOTE_PATH.match(joined, end)
        or _is_product(joined, local, after, end)
    ):
        return None
    return start, end


def _local_start(joined: str, at: int) -> int | None:
    """Start of the local part that ends at `at`, or None."""
    first = max(joined.rfind("\n", 0, at) + 1, at - _BEFORE)
    before = joined[first:at]
    if not before.endswith('"'):
        before = before[max(map(before.rfind, " \t\u3000\xa0")) + 1 :]
        first = at - len(before)
    before = ascii_lookalikes(before)
    if before.endswith('"'):
        found = _QUOTED.search(before)
        return first + found.start() if found else None
    found = _LOCAL.search(before)
    if not found:
        return None
    start = found.start()
    for cut in (*_ESCAPED.finditer(before, start), *_SCRIPT_CHANGE.finditer(before, start)):
        start = max(start, cut.end())
    # signs that RFC 5322 allows, and that also separate an address from the text before it
    start = max([start, *(before.rfind(sign, start) + 1 for sign in "=/?#|`{}*!$")])
    local = before[start:].lstrip("'.&%-")
    start = len(before) - len(local)
    if not local or not re.search(r"\w", local):
        return None
    if _UNSPACED.match(local) and (len(local) > _LONGEST_UNSPACED_NAME or not _is_delimited(before, start)):
        return None
    return first + start


def _is_delimited(before: str, start: int) -> bool:
    return start == 0 or not (before[start - 1].isalnum())


def _host_end(joined: str, start: int) -> int | None:
    """End of the host name that starts at `start`, or None."""
    piece = _FIRST_PIECE.match(joined, start, start + _AFTER)
    found = _LABELS.match(ascii_lookalikes(piece[0])) if piece else None
    if not found:
        return None
    labels = found[0].split(".")
    ends = [start]
    for label in labels:
        ends.append(ends[-1] + len(label) + 1)
    best = None
    for number, (before, label) in enumerate(pairwise(labels), 1):
        if label[0].isupper() and label[1:].islower() and before.islower():
            break  # the first word of the next sentence
        length = top_level_length(label)
        if length and before.lower() in _GENERIC and not _is_top_level(f"{before}.{label[:length]}".lower()):
            break  # a word after a missing blank, as in `bob@example.com.it is`
        if length:
            best = ends[number] + length
        if length and length < len(label) and not label.isascii():
            break  # text in another script follows
    return best


def top_level_length(label: str) -> int:
    """Length of the top-level domain at the start of `label`; 0 if there is none, or if the word continues after it."""
    found = _PUNYCODE.match(label)
    if found:
        return found.end() if found.end() == len(label) else 0
    found = _LETTERS.match(label)
    if found:
        name, rest = found[0].lower(), label[found.end() :]
        known = (name in _RESERVED or _is_top_level(name)) and name not in _FILE_ENDINGS
        return found.end() if known and not _WORD_GOES_ON.match(rest) else 0
    found = _OTHER_SCRIPT.match(label)
    if not found:
        return 0
    lengths = range(found.end(), 0, -1) if _UNSPACED.match(label) else (found.end(),)
    return next((length for length in lengths if _is_top_level(label[:length].lower())), 0)


@lru_cache(maxsize=4096)
def _is_top_level(name: str) -> bool:
    from tld import is_tld

    return bool(is_tld(name))


def _is_product(joined: str, local: str, start: int, end: int) -> bool:
    """Whether this is a matrix product such as `q@k.to(device)`."""
    first, _, method = joined[start:end].rpartition(".")
    if not (local.isidentifier() and first.isidentifier()):
        return False
    return (method in _METHODS and joined[end : end + 1] in ("(", "[")) or (len(local) == len(first) == 1
        and method in _METHODS)  # fmt: skip
