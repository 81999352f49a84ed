"""Fingerprints: two results are the same if their fingerprints are equal.

A fingerprint is the SHA-256 of canonical JSON, cut to 32 hexadecimal digits (128 bits: MLflow keeps 36
characters of a dataset digest). Canonical JSON sorts keys, has no spaces, and writes floats as `repr` does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import xxhash

LENGTH = 32


def canonical(value: Any) -> bytes:
    """JSON bytes that are equal exactly when the values are. Raises TypeError for values that JSON cannot represent."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def fingerprint(value: Any) -> str:
    """32 hexadecimal digits that name `value`."""
    return hashlib.sha256(canonical(value)).hexdigest()[:LENGTH]


def origin_id(*parts: str) -> str:
    """The id of a document, from its origin: (source, URL, payload digest) or (path, record)."""
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:LENGTH]


def content_hash(text: str) -> str:
    """XXH3 (128 bits) of the UTF-8 text, 32 hexadecimal digits."""
    return xxhash.xxh3_128_hexdigest(text.encode("utf-8", "surrogatepass"))


def unit_interval(*parts: str) -> float:
    """A number in [0, 1) that depends on `parts` alone; for sampling and splits that must be repeatable."""
    return xxhash.xxh3_64_intdigest("\x00".join(parts).encode("utf-8", "surrogatepass")) / 2.0**64


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions(libraries: Iterable[str]) -> dict[str, str]:
    """Installed versions of the libraries that affect a stage's output."""
    return {name: metadata.version(name) for name in sorted(libraries)}
