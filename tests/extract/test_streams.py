"""streams: the content of a file decides how it is decompressed and decoded, not its name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
from pathlib import Path

import pytest

from bessemer.extract.streams import BROKEN_STREAM, compression_of, is_seekable_utf8, open_utf8

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = b'{"text": "one"}\n' * 3
PACKED = {
    "gzip": gzip.compress(TEXT),
    "bz2": bz2.compress(TEXT),
    "xz": lzma.compress(TEXT),
    "zstd": zstd.compress(TEXT),
}


def read(path: Path, content: bytes) -> bytes:
    path.write_bytes(content)
    with open_utf8(path) as file:
        return file.read()


@pytest.mark.parametrize("compression", PACKED)
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.zst", "a"])
def test_a_stream_is_decompressed_whatever_the_file_is_called(tmp_path: Path, name: str, compression: str) -> None:
    assert read(tmp_path / name, PACKED[compression]) == TEXT
    assert compression_of(tmp_path / name) == compression
    assert not is_seekable_utf8(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.jsonl.bz2", "a.jsonl.xz"])
def test_a_text_that_a_server_has_decompressed_is_read_as_it_is(tmp_path: Path, name: str) -> None:
    assert read(tmp_path / name, TEXT) == TEXT


def test_bytes_that_are_neither_a_stream_nor_text_fail_by_their_name(tmp_path: Path) -> None:
    with pytest.raises(BROKEN_STREAM):
        read(tmp_path / "a.jsonl.gz", b"\0\1" + PACKED["gzip"][2:])


def test_zstandard_with_a_long_window_and_several_frames(tmp_path: Path) -> None:
    """Dumps made with `zstd --long=31` have windows of 2 GiB, and `pzstd` puts a frame of user data before each."""
    options = {
        zstd.CompressionParameter.window_log: 30,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    long = zstd.ZstdCompressor(options=options)
    frame = long.compress(TEXT) + long.flush()
    assert zstd.get_frame_info(PACKED["zstd"]).decompressed_size == len(TEXT)
    skippable = b"\x5a\x2a\x4d\x18\x04\0\0\0user"
    assert read(tmp_path / "a.zst", skippable + frame + skippable + PACKED["zstd"]) == TEXT * 2


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_wide_encodings_become_utf8(tmp_path: Path, encoding: str) -> None:
    text = '{"text": "Größe 😀"}\n' * 20_000
    assert read(tmp_path / "a.jsonl", text.encode(encoding)).decode() == text
    assert read(tmp_path / "a.jsonl.gz", gzip.compress(text.encode(encoding))).decode() == text
    (tmp_path / "a.jsonl").write_bytes(text.encode(encoding))
    assert not is_seekable_utf8(tmp_path / "a.jsonl")


def test_half_a_surrogate_pair_in_utf16_is_one_broken_character(tmp_path: Path) -> None:
    assert read(tmp_path / "a.jsonl", '{"text": "\ud83d"}'.encode("utf-16", "surrogatepass")).decode() == (
        '{"text": "\ufffd"}'
    )


@pytest.mark.parametrize("content", [b"", b"a", b"\0", b"ab", "ä".encode("cp1252"), b"BZh is a text", b"\0\xff\xfe{"])
def test_any_other_bytes_pass_as_they_are(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path / "a.jsonl", content) == content
