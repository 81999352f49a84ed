"""The one decoder of pages and text files: links, robots directives and text are all read from its result.

The order is that of the WHATWG sniffing algorithm: a byte order mark; the label of the HTTP header; the declaration in
the page; a guess. Pages whose declaration is wrong are common, so three deviations recover text that a browser shows as
mojibake:

- Valid UTF-8 is read as UTF-8 regardless of the label. Text in another charset is almost never valid UTF-8.
- UTF-16 and UTF-32 without a byte order mark are recognised by the positions of their zero bytes, ISO-2022 by its
  escape sequences.
- A label that leaves more than 1 % of the characters undefined is rejected, and the next source is used. The last
  source is a guess from letter frequencies (`charset_normalizer`, about 20 ms per page; the others take microseconds).

`decode` is a pure function of its arguments: the crawler and the extractor get the same characters of the same page.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

from bessemer.artifacts.web_codecs import charset_of, decode_charset

MAX_BROKEN_RATIO = 0.01
_SAMPLE_BYTES = 32_768
_WIDE_SAMPLE_BYTES = 4096

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16le"),
    (codecs.BOM_UTF16_BE, "utf-16be"),
)
_ESCAPES = ((b"\x1b$)C", "iso2022_kr"), (b"\x1b$", "iso2022_jp_ext"), (b"\x1b(", "iso2022_jp_ext"))
_CJK = frozenset({"gbk", "gb18030", "big5", "shift_jis", "euc-jp", "euc-kr", "hz", "johab"})
_SEQUENCE = re.compile(rb"[\xc2-\xf4][\x80-\xbf]")
_LONG_SEQUENCE = re.compile(rb"[\xe0-\xf4]")
_TAG = re.compile(rb"<(?:(?P<comment>!--)|(?P<other>[!?]|/(?![a-z]))|(?P<name>/?[a-z][^\s>/]*))", re.IGNORECASE)
_ATTRIBUTE = re.compile(rb"""[\s/]*([^\s/>][^\s/>=]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"'][^\s>]*)?))?""")
_RAW_TEXT = (b"script", b"style", b"textarea", b"title", b"xmp", b"iframe", b"noembed", b"noframes")
_IN_CONTENT = re.compile(rb"""charset\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s;"']+))""", re.IGNORECASE)
_XML_DECLARATION = re.compile(rb"""\s*<\?xml\s[^>]*?encoding\s*=\s*["']([^"'>]*)["']""", re.IGNORECASE)
_CONTROL = bytes(code for code in range(32) if code not in b"\t\n\r")
_SELF_CLOSED_ROOT = re.compile(rb"(<html\b[^<>]*?)\s*/>", re.IGNORECASE)
_BEGINNING = 4096
_ANY_TAG = re.compile(rb"<[^<>]*>")
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")
_LETTER = re.compile(rb"[A-Za-z]")
_STRAY_LETTER = re.compile(r"(?<![^\W\d_])[^\W\d_\x00-\x7f](?![^\W\d_])")
_NOT_LATIN = re.compile(rb"[\x81-\x83\x8d\x8f\x90\x9d]")
# A guess that is not a charset of browsers is accepted only if it is the only guess.
_ON_THE_WEB = re.compile(
    r"cp125[0-8]|cp8(55|66|74)|cp932|cp949|koi8_[ru]|mac_(roman|cyrillic)|iso8859_\d+|gb\w+|big5\w*|euc_\w+|shift_jis\w*|"
    r"johab|tis_620"
)


@dataclass(frozen=True, slots=True)
class Decoded:
    """`encoding` is the standard's name of the charset, or Python's; `broken` counts the undefined characters."""

    text: str
    encoding: str
    broken: int = 0
    readable: bool = True
    """Whether a charset decodes the bytes. If not, `text` is an approximation."""

    def markup(self) -> bytes:
        """The text in UTF-8 for libxml2, without control characters and `<html/>`, which would end its parse early."""
        content = self.text.encode("utf-8", "replace").translate(None, _CONTROL)
        return _SELF_CLOSED_ROOT.sub(rb"\1>", content[:_BEGINNING], count=1) + content[_BEGINNING:]


def decode(content: bytes, declared: str | None = None, *, markup: bool = False) -> Decoded:
    """The text of `content`. `declared` is the label in the HTTP header; with `markup`, the page's own label counts
    too."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return _decoded(content[len(mark) :], encoding)
    if (wide := _wide(content)) and (read := _decoded(content, wide)).readable:
        return read
    labels = (declared, declared_in(content) if markup else None)
    stated = [charset for label in labels if label and (charset := charset_of(label))]
    for charset in _candidates(content, stated):
        if (read := _decoded(content, charset)).readable:
            return read
    return _guess(content) or _decoded(content, stated[0] if stated else "utf-8")


def declared_in(content: bytes) -> str | None:
    """The label that an HTML or XML file declares, if any (the prescan of the HTML standard, section 13.2.3.2).

    The standard reads 1024 bytes, and parses again if the charset is declared later. This function reads the whole
    file. It skips comments and the text of scripts.
    """
    small = content.lower()
    last = small.rfind(b"<meta") if b"charset" in small else -1
    for attributes in _meta_tags(content, last):
        label = _label_of(attributes)
        if label and charset_of(label):
            return {"utf-16le": "utf-8", "utf-16be": "utf-8"}.get(charset_of(label) or "", label)
    found = _XML_DECLARATION.match(content, 0, _BEGINNING)
    return found[1].decode("latin-1").strip().lower() if found else None


def _candidates(content: bytes, stated: list[str]) -> Iterator[str]:
    """The charsets to try, in order."""
    if content.isascii():
        for escape, codec in _ESCAPES:
            if escape in content[:_SAMPLE_BYTES]:
                yield codec
        # All other charsets decode ASCII in the same way; the declared one decides the encoding of queries in links.
        yield from (charset for charset in stated if not charset.startswith(("utf-16", "utf-32", "iso2022")))
        yield "utf-8"
        return
    cjk = [charset for charset in stated[:1] if charset in _CJK and not _decoded(content, charset).broken]
    if cjk and (not _is_utf8(content) or not _LONG_SEQUENCE.search(content)):
        # The text of these scripts takes 3 bytes per character in UTF-8; two bytes may be valid in both by chance.
        yield from cjk
    if not _SEQUENCE.search(content):
        yield from stated
    yield "utf-8"
    yield from stated


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


def _decoded(content: bytes, encoding: str) -> Decoded:
    """`content` in `encoding`; readable unless too many characters are undefined. A character cut off at the end does
    not count."""
    text, broken = decode_charset(content, encoding)
    if not broken:
        return Decoded(text, encoding)
    counted = broken - text.endswith("\ufffd")
    beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
    few = counted <= MAX_BROKEN_RATIO * len(text) and 2 * counted <= beyond_ascii
    strict = encoding.startswith("iso2022") and encoding != "iso2022_jp"
    return Decoded(text, encoding, broken, readable=few and not strict)


def _meta_tags(content: bytes, end: int) -> Iterator[dict[bytes, bytes]]:
    """The attributes of each `<meta>` that begins at `end` or before, names and values in lower case."""
    at = 0
    while (tag := _TAG.search(content, at)) and tag.start() <= end:
        at = tag.end()
        if tag["name"] is None:
            close = content.find(b"-->", at - 2) if tag["comment"] else content.find(b">", at)
            at = close + 1 if close >= 0 else len(content)
            continue
        attributes: dict[bytes, bytes] = {}
        while found := _ATTRIBUTE.match(content, at):
            at = found.end()
            attributes.setdefault(found[1].lower(), next((v for v in found.groups()[1:] if v), b"").lower())
        name = tag["name"].lower()
        if name == b"meta":
            yield attributes
        elif name in _RAW_TEXT:
            closed = re.compile(rb"</" + name + rb"[\s/>]", re.IGNORECASE).search(content, at)
            at = closed.start() if closed else len(content)


def _label_of(meta: dict[bytes, bytes]) -> str | None:
    label = meta.get(b"charset")
    if label is None and meta.get(b"http-equiv", b"").strip() == b"content-type":
        found = _IN_CONTENT.search(meta.get(b"content", b""))
        label = next((group for group in found.groups() if group), None) if found else None
    return label.decode("latin-1").strip() if label else None


def _wide(content: bytes) -> str | None:
    """UTF-16 or UTF-32 without a byte order mark: in most scripts the zero bytes have fixed positions."""
    sample = content[:_WIDE_SAMPLE_BYTES]
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
        return "utf-16be"
    return "utf-16le" if odd > 0.4 and even < 0.05 else None


def _guess(content: bytes) -> Decoded | None:
    """The guess of charset_normalizer from the non-ASCII lines; near ties go to the commonest charset of the web.

    In a short text it can mistake a Latin letter and its neighbour for a Chinese character; `_is_latin` prevents that.
    In a long text it can mistake quotation marks for letters of a rare charset; `_num_stray_letters` counts these.
    """
    from charset_normalizer import from_bytes
    from charset_normalizer.utils import is_multi_byte_encoding

    lines = _telling_lines(content)
    matches = list(from_bytes(lines))
    latin = _is_latin(lines)
    if latin:
        matches = [match for match in matches if not is_multi_byte_encoding(match.encoding)]
    if matches:
        best = next((match for match in matches if _ON_THE_WEB.fullmatch(match.encoding)), matches[0])
        ties = {m.encoding for m in matches if m.chaos <= best.chaos and m.coherence >= best.coherence}
        name = "cp1252" if "cp1252" in ties else best.encoding
        if latin and name != "cp1252":
            name = min((name, "cp1252", "cp1250"), key=lambda candidate: _num_stray_letters(lines, candidate))
    elif latin:
        name = "cp1252"
    else:
        return None
    read = _decoded(content, charset_of(name) or name)
    return read if read.readable else None


def _num_stray_letters(lines: bytes, encoding: str) -> int:
    """The number of non-ASCII letters without a letter next to them. Most are quotation marks in another charset.

    `»So,«` in ISO 8859-1 becomes `ťSo,Ť` in ISO 8859-2. Words of one letter, such as `à`, are the same in both
    charsets.
    """
    return len(_STRAY_LETTER.findall(lines.decode(encoding, "replace")))


def _is_latin(lines: bytes) -> bool:
    """Whether the non-ASCII bytes are letters of Latin words: at most half of the letters, at most two in a row.

    In two-byte charsets every character of a word is non-ASCII. In Shift JIS half-width Japanese letters take one byte;
    its two-byte characters begin with bytes that Latin texts lack.
    """
    text = _ANY_TAG.sub(b" ", lines)
    runs = _HIGH_RUN.findall(text)
    high = sum(map(len, runs))
    few = high > 0 and max(map(len, runs)) <= 2 and high <= len(_LETTER.findall(text))
    return few and not _NOT_LATIN.search(text)


def _telling_lines(content: bytes) -> bytes:
    """About 32 KiB of lines with non-ASCII bytes."""
    lines, size = [], 0
    for line in content.splitlines(keepends=True):
        if not line.isascii():
            lines.append(line)
            size += len(line)
            if size > _SAMPLE_BYTES:
                break
    return b"".join(lines)[: 4 * _SAMPLE_BYTES]
