"""content_coding: labels are right, wrong or missing, and streams are whole or damaged; no page is lost needlessly."""

from __future__ import annotations

import gzip
import random
import zlib

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bessemer.artifacts.content_coding import Content, decode_content, gunzip

TEXT = b"<p>some text</p>" * 60 + bytes(range(65, 91)) * 2
RAW_DEFLATE = zlib.compress(TEXT)[2:-4]
GZIP = gzip.compress(TEXT)
BROTLI = pa.compress(TEXT, "brotli", asbytes=True)
ZSTD = pa.compress(TEXT, "zstd", asbytes=True)


@pytest.mark.parametrize(
    ("body", "encodings"),
    [
        (GZIP, "gzip"),
        (GZIP, "X-GZIP"),
        (gzip.compress(TEXT[:400]) + gzip.compress(TEXT[400:]), "gzip"),
        (zlib.compress(TEXT), "deflate"),
        (RAW_DEFLATE, "Deflate"),
        (BROTLI, "br"),
        (ZSTD, "zstd"),
        (gzip.compress(zlib.compress(TEXT)), "deflate, gzip"),
        (gzip.compress(GZIP), "gzip,gzip"),
        (GZIP, "gzip;q=1.0"),
        (GZIP, "utf-8, gzip"),
        (GZIP, "br"),  # one coding under the label of another
        (GZIP, "deflate"),
        (ZSTD, "gzip"),
        (GZIP[:-8], "gzip"),  # checksums are not looked at
        (GZIP[:-8] + b"wrong!!!", "gzip"),
        (GZIP + b"junk", "gzip"),
        (zlib.compress(TEXT)[:-4] + b"oops", "deflate"),
        *((TEXT, label) for label in ("gzip", "br", "zstd", "deflate", "identity", "none", "", "compress-42")),
        *((TEXT, label) for label in ("UTF-8", "iso-8859-1", "windows-1251", "text/html", "binary", "8bit", "sdch")),
    ],
)
def test_a_body_is_decoded_whatever_its_label(body: bytes, encodings: str) -> None:
    assert decode_content(body, encodings, len(TEXT)) == Content(TEXT)


@pytest.mark.parametrize(
    ("body", "encoding"), [(GZIP, "gzip"), (RAW_DEFLATE, "deflate"), (BROTLI, "br"), (ZSTD, "zstd")]
)
def test_the_limit_holds_for_decoded_bytes(body: bytes, encoding: str) -> None:
    with pytest.raises(ValueError, match=f"limit of {len(TEXT) - 1} bytes"):
        decode_content(body, encoding, len(TEXT) - 1)


def test_bombs_stop_at_the_limit() -> None:
    bomb = gzip.compress(bytes(20_000_000))
    with pytest.raises(ValueError, match="limit"):
        decode_content(bomb, "gzip", 1000)
    assert len(gunzip(bomb, 1000).content) <= 1000
    assert len(gunzip(bomb * 3, 30_000_000).content) <= 30_000_000


def test_codings_are_counted_without_other_labels() -> None:
    body = gzip.compress(gzip.compress(TEXT))
    assert decode_content(body, "utf-8, gzip, " + "binary, " * 50 + "gzip", len(TEXT)).content == TEXT
    with pytest.raises(ValueError, match="10000 content codings"):
        decode_content(body, ",".join(["br"] * 10_000), 1000)


def test_a_stream_that_breaks_off_gives_its_beginning() -> None:
    noise = random.Random(0).randbytes(100_000)
    for body, encoding in ((gzip.compress(noise), "gzip"), (zlib.compress(noise), "deflate")):
        decoded = decode_content(body[: len(body) // 2], encoding, 200_000)
        assert not decoded.complete
        assert noise.startswith(decoded.content)
        assert len(decoded.content) > 1000
    with pytest.raises(ValueError, match="does not decompress"):
        decode_content(ZSTD[: len(ZSTD) // 2], "zstd", 200_000)
    with pytest.raises(ValueError, match="does not decompress"):
        decode_content(b"\x89PNG" + bytes(100), "br", 200_000)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "br", "zstd", "gzip, br", "x"]), st.booleans())
def test_no_bytes_are_too_strange(body: bytes, encodings: str, begin_as_gzip: bool) -> None:
    try:
        decoded = decode_content(GZIP[:12] + body if begin_as_gzip else body, encodings, 1000)
    except ValueError:
        return
    assert len(decoded.content) <= 1000
