"""Charsets as browsers implement them (WHATWG Encoding Standard), on top of Python's codecs.

`webencodings` holds the standard's table of labels. This module corrects the differences between Python's codecs and
the standard: `gbk` is decoded as GB18030, EUC-JP includes the characters that Windows adds, and the unassigned bytes
0x80 to 0x9F of the Windows charsets are control characters. Decoding and encoding run at the speed of Python's codecs;
only a character missing from a codec costs a Python call.
"""

from __future__ import annotations

import codecs
import re
from functools import cache
from typing import cast

import webencodings

_DECODERS = {"gbk": "gb18030", "x-user-defined": "windows-1252", "big5": "big5hkscs"}
_NOT_CHARSETS = ("utf-7", "idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "replacement")
"""Codecs of Python that browsers lack; `undefined` raises on every input. EBCDIC is excluded by its letters."""
_WINDOWS = re.compile(r"cp(125\d|874)")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_LITERAL = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# Python maps six characters of JIS X 0208 as Unicode's old table does; the standard maps them as Windows does.
_JIS_AS_WINDOWS = str.maketrans("\u301c\u2016\u2212\u00a2\u00a3\u00ac", "\uff5e\u2225\uff0d\uffe0\uffe1\uffe2")
_JIS_AS_PYTHON = str.maketrans(
    "\uff5e\u2225\uff0d\uffe0\uffe1\uffe2\u00a5\u203e", "\u301c\u2016\u2212\u00a2\u00a3\u00ac\\~"
)
_SHIFT_JIS_AS_WINDOWS = str.maketrans("\u2212\u00a5\u203e", "\uff0d\\~")


@cache
def charset_of(label: str) -> str | None:
    """The charset that a label names: the standard's name, or else Python's; None for an unknown label.

    >>> charset_of("latin1"), charset_of("x-sjis"), charset_of("cp437"), charset_of("utf-7")
    ('windows-1252', 'shift_jis', 'cp437', None)
    """
    label = label.strip("\t\n\f\r ").lower()
    known = webencodings.lookup(label)
    if known is not None and known.name != "replacement":
        return cast(str, known.name)
    try:
        codec = codecs.lookup(label)
    except (LookupError, ValueError):
        return None
    if not codec._is_text_encoding or codec.name.startswith(_NOT_CHARSETS):
        return None
    if not codec.name.startswith("utf-") and b"<a>".decode(codec.name, "ignore") != "<a>":
        return None
    known = webencodings.lookup(codec.name)
    return cast(str, known.name) if known is not None else codec.name


def decode_charset(content: bytes, charset: str) -> tuple[str, int]:
    """(text, number of its undefined characters: U+FFFD, or control characters in Windows charsets)."""
    codec = _codec_of(charset)
    try:
        text, broken = content.decode(codec), 0
    except UnicodeDecodeError:
        text = content.decode(codec, _handler_of(codec))
        broken = text.count("\ufffd")
        if codec == "utf-8":
            broken -= content.count(b"\xef\xbf\xbd")
        elif _WINDOWS.fullmatch(codec):
            broken += sum(0x80 <= ord(character) < 0xA0 for character in text)
    return (text.translate(_JIS_AS_WINDOWS) if codec == "euc_jp" else text), broken


def encode_query(query: str, charset: str) -> str:
    """The query of a URL in ASCII: other characters are encoded in the page's charset and escaped, as in `%E4%F6`.

    A character that the charset lacks becomes a numeric reference, `%26%23233%3B` (URL Standard, section 1.3). A page
    in UTF-16 or UTF-32 has its queries in UTF-8.
    """
    codec = "utf-8" if charset.startswith(("utf-16", "utf-32")) else _codec_of(charset)
    gbk = charset == "gbk"
    return _BEYOND_ASCII.sub(lambda run: "".join(map(_escape, _encoded(run[0], codec, gbk=gbk))), query)


def _encoded(text: str, codec: str, *, gbk: bool) -> bytes:
    """`text` encoded with `codec`; characters that it lacks become numeric references."""
    if codec == "utf-8":
        return text.encode(codec, "replace")
    if codec in ("euc_jp", "iso2022_jp", "iso2022_jp_ext"):
        text = text.translate(_JIS_AS_PYTHON)
    elif codec == "cp932":
        text = text.translate(_SHIFT_JIS_AS_WINDOWS)
    if codec.startswith("iso2022"):
        return text.encode(codec, "xmlcharrefreplace")
    return b"".join(_encoded_character(character, codec, gbk=gbk) for character in text)


def _encoded_character(character: str, codec: str, *, gbk: bool) -> bytes:
    if gbk and character == "\u20ac":
        return b"\x80"
    try:
        encoded = character.encode(codec)
    except UnicodeEncodeError:
        encoded = b""
        if _WINDOWS.fullmatch(codec) and "\x80" <= character < "\xa0":
            byte = character.encode("latin-1")
            encoded = b"" if byte.decode(codec, "ignore") else byte
    if codec == "euc_jp" and len(encoded) in (0, 3):  # browsers do not write the characters of JIS X 0212
        encoded = _euc_from_windows(character)
    if codec == "cp932" and encoded[:1] in (b"\xed", b"\xee"):
        encoded = _of_ibm().get(character, encoded)
    beyond = (
        (gbk and len(encoded) == 4)  # GBK has no characters of four bytes
        or (codec == "big5hkscs" and encoded[:1] < b"\xa1")  # browsers read the Hong Kong rows but do not write them
    )
    return encoded if encoded and not (beyond and encoded >= b"\x80") else f"&#{ord(character)};".encode()


def _escape(byte: int) -> str:
    return chr(byte) if byte in _LITERAL else f"%{byte:02X}"


@cache
def _codec_of(charset: str) -> str:
    """The name of Python's codec."""
    known = webencodings.lookup(charset)
    name = _DECODERS.get(charset) or (known.codec_info.name if known is not None else charset)
    return codecs.lookup(name).name


def _handler_of(codec: str) -> str:
    if _WINDOWS.fullmatch(codec):
        return "bessemer-windows"
    return f"bessemer-{codec}" if codec in ("euc_jp", "gb18030", "big5hkscs") else "replace"


def _windows_control(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    byte = error.object[error.start]
    return (chr(byte) if byte < 0xA0 else "\ufffd"), error.start + 1


def _euc_jp_of_windows(error: UnicodeError) -> tuple[str, int]:
    """A character that Windows adds to JIS X 0208, such as U+2460 (a circled 1)."""
    assert isinstance(error, UnicodeDecodeError)
    pair = error.object[error.start : error.start + 2]
    if len(pair) == 2 and min(pair) > 0xA0 and max(pair) < 0xFF:
        row, cell = pair[0] - 0xA0, pair[1] - 0xA0
        lead = (row + 1) // 2 + (0x80 if row < 63 else 0xC0)
        trail = cell + 0x9E if row % 2 == 0 else cell + (0x3F if cell < 64 else 0x40)
        text = bytes((lead, trail)).decode("cp932", "replace")
        if len(text) == 1 and text != "\ufffd":
            return text, error.start + 2
    return "\ufffd", max(error.end, error.start + 1)


def _euc_from_windows(character: str) -> bytes:
    """The inverse of `_euc_jp_of_windows`; empty for a character that Windows lacks."""
    pair = character.encode("cp932", "ignore")
    if pair[:1] >= b"\xf0":
        pair = _nec_selected().get(character, b"")  # characters of IBM beyond row 94, repeated in rows 89 to 92
    if len(pair) != 2:
        return b""
    lead, trail = pair
    row = 2 * (lead - (0x80 if lead < 0xA0 else 0xC0)) - (trail < 0x9F)
    cell = trail - 0x9E if trail >= 0x9F else trail - (0x3F if trail < 0x7F else 0x40)
    return bytes((row + 0xA0, cell + 0xA0))


@cache
def _nec_selected() -> dict[str, bytes]:
    return _shift_jis(0xED, 0xEE)


@cache
def _of_ibm() -> dict[str, bytes]:
    """The IBM characters, which Windows encodes in two places: browsers write these rows, Python the rows of NEC."""
    return _shift_jis(0xFA, 0xFC)


def _shift_jis(first: int, last: int) -> dict[str, bytes]:
    """The bytes of each character whose first byte is in the range."""
    trails = (*range(0x40, 0x7F), *range(0x80, 0xFD))
    pairs = (bytes((lead, trail)) for lead in range(first, last + 1) for trail in trails)
    return {text: pair for pair in pairs if (text := pair.decode("cp932", "ignore"))}


def _euro_of_gbk(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    euro = error.object[error.start] == 0x80
    return ("\u20ac" if euro else "\ufffd"), (error.start + 1 if euro else max(error.end, error.start + 1))


def _big5_of_windows(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    pair = error.object[error.start : error.start + 2]
    text = pair.decode("cp950", "replace")
    return (text, error.start + 2) if len(text) == 1 != text.count("\ufffd") else ("\ufffd", error.start + 1)


codecs.register_error("bessemer-windows", _windows_control)
codecs.register_error("bessemer-euc_jp", _euc_jp_of_windows)
codecs.register_error("bessemer-gb18030", _euro_of_gbk)
codecs.register_error("bessemer-big5hkscs", _big5_of_windows)
