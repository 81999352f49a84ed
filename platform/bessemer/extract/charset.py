"""Which characters do these bytes stand for?

What a server or a page says about its charset is often wrong, but bytes that are valid UTF-8 hardly ever mean
anything else. So, in this order: a byte order mark; UTF-16 and UTF-32 without one, by where the zero bytes stand;
the escape sequences of ISO-2022; UTF-8, a few broken bytes allowed; what was declared (HTTP, then the page itself),
read as browsers read the label; a guess from letter frequencies (charset_normalizer). A decoding that leaves more
than 1 % of the characters unreadable is refused. A pure function of its arguments.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

MAX_BROKEN_RATIO = 0.01
_SAMPLE_BYTES = 32_768
_DECLARATION_BYTES = 4096

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ESCAPES = ((b"\x1b$)C", "iso2022_kr"), (b"\x1b$", "iso2022_jp_ext"), (b"\x1b(", "iso2022_jp_ext"))
_DECLARATION = re.compile(
    rb"""<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{1,40})|<meta\s[^>]{0,500}?charset\s*=\s*["']?\s*([\w.:-]{1,40})""",
    re.IGNORECASE,
)
# Labels that browsers read as another charset than their name says (WHATWG Encoding Standard, section 4.2).
_AS_BROWSERS_READ = {
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "x-cp1251": "cp1251",
    "x-mac-cyrillic": "mac_cyrillic",
    "macintosh": "mac_roman",
    "gb2312": "gb18030",
    "gb_2312-80": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "big5": "big5hkscs",
    "x-x-big5": "big5hkscs",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "x-euc-jp": "euc_jp",
    "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "windows-949": "cp949",
    "unicode": "utf-16-le",
    "utf-16": "utf-16-le",
}
_NO_CHARSETS = ("utf-7", "idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape")
"""Codecs of Python's that no browser has, `undefined` because it raises."""
# The charsets that browsers know; a guess outside of them is taken only where there is no other.
_ON_THE_WEB = re.compile(
    r"cp125[0-8]|cp8(55|66|74)|cp932|cp949|koi8_[ru]|mac_(roman|cyrillic)|iso8859_\d+|gb\w+|big5\w*|euc_\w+|shift_jis\w*|"
    r"johab|tis_620"
)


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text, the Python codec that gave it, and how many characters could not be read (they are U+FFFD)."""

    text: str
    encoding: str
    broken: int = 0


def decode(content: bytes, declared: str | None = None, *, markup: bool = False) -> Decoded | None:
    """The text of `content`, or None where no charset makes sense of it.

    `declared` is the label of the HTTP header; with `markup` the content's own declaration counts too.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return _attempt(content[len(mark) :], encoding)
    if wide := _wide(content):
        return _attempt(content, wide)
    for escape, codec in _ESCAPES:
        if escape in content[:_SAMPLE_BYTES] and content.isascii() and (read := _attempt(content, codec, 0.0)):
            return read
    if read := _attempt(content, "utf-8"):
        return read
    for label in (declared, declared_in(content) if markup else None):
        if label and (codec_name := codec_of(label)) and (read := _attempt(content, codec_name)):
            return read
    return _guess(content)


def declared_in(content: bytes) -> str | None:
    """The charset that an HTML or XML file declares in its first 4 KiB, if any."""
    found = _DECLARATION.search(content, 0, _DECLARATION_BYTES)
    return (found[1] or found[2]).decode("ascii").lower() if found else None


def codec_of(label: str) -> str | None:
    """The Python codec for a charset label as browsers read it; None for one that nobody knows."""
    label = label.strip().lower()
    try:
        codec = codecs.lookup(_AS_BROWSERS_READ.get(label, label))
    except (LookupError, ValueError):
        return None
    return codec.name if codec._is_text_encoding and not codec.name.startswith(_NO_CHARSETS) else None


def _attempt(content: bytes, encoding: str, max_broken_ratio: float = MAX_BROKEN_RATIO) -> Decoded | None:
    """Decodes unless too much is unreadable; a character cut off at the very end does not count."""
    try:
        return Decoded(content.decode(encoding), encoding)
    except UnicodeDecodeError:
        text = content.decode(encoding, "replace")
    meant = content.count(b"\xef\xbf\xbd") if encoding == "utf-8" else 0
    broken = text.count("\ufffd") - meant
    beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
    at_end = text.endswith("\ufffd")
    few = broken - at_end <= max_broken_ratio * len(text) and 2 * (broken - at_end) <= beyond_ascii
    return Decoded(text, encoding, broken) if few else None


def _wide(content: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark: in most scripts' text, zero bytes stand at fixed places."""
    sample = content[:_DECLARATION_BYTES]
    quarter = len(sample) // 4
    if quarter == 0 or b"\0" not in sample:
        return None
    zeros = [sample[place::4].count(0) / quarter for place in range(4)]
    if min(zeros[0:2]) > 0.9 and zeros[3] < 0.1:
        return "utf-32-be"
    if min(zeros[2:4]) > 0.9 and zeros[0] < 0.1:
        return "utf-32-le"
    even, odd = (zeros[0] + zeros[2]) / 2, (zeros[1] + zeros[3]) / 2
    if even > 0.4 and odd < 0.05:
        return "utf-16-be"
    return "utf-16-le" if odd > 0.4 and even < 0.05 else None


def _guess(content: bytes) -> Decoded | None:
    """What charset_normalizer makes of the lines that are not ASCII; among near ties, the commonest on the web."""
    from charset_normalizer import from_bytes

    matches = list(from_bytes(_telling_lines(content)))
    if not matches:
        return None
    best = next((match for match in matches if _ON_THE_WEB.fullmatch(match.encoding)), matches[0])
    ties = {m.encoding for m in matches if m.chaos <= best.chaos and m.coherence >= best.coherence}
    return _attempt(content, "cp1252" if "cp1252" in ties else best.encoding)


def _telling_lines(content: bytes) -> bytes:
    """About 32 KiB of lines with bytes beyond ASCII, cut at line ends where there are any."""
    lines, size = [], 0
    for line in content.splitlines(keepends=True):
        if not line.isascii():
            lines.append(line)
            size += len(line)
            if size > _SAMPLE_BYTES:
                break
    return b"".join(lines)[: 4 * _SAMPLE_BYTES]
