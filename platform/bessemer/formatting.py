"""Formats numbers for people: `12.4k`, `3.1 GiB`, `4m 12s`."""

from __future__ import annotations

import math
import re

_SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SIZES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40, "k": 10**3, "m": 10**6, "g": 10**9}


def format_count(value: float) -> str:
    """`950`, `12.4k`, `3.10M`, `7.2B`."""
    if not math.isfinite(value):
        return str(float(value))
    if abs(value) < 10_000:
        return f"{value:.0f}" if float(value).is_integer() or abs(value) >= 999.5 else f"{value:.3g}"
    for limit, unit in ((10**6, "k"), (10**9, "M"), (10**12, "B")):
        if abs(value) < limit * 0.9995:
            return f"{value / limit * 1000:.3g}{unit}"
    return f"{value / 10**12:.0f}T" if abs(value) >= 999.5e12 else f"{value / 10**12:.3g}T"


def format_number(value: float) -> str:
    """A count or a measurement: `950`, `12.4k`, `1234`, `0.5661`, `1.5e-05`, `nan`. Never `1.019e+04`."""
    if not math.isfinite(value) or abs(value) >= 999.95 or float(value).is_integer():
        return format_count(value)
    return f"{value:.4g}"


def format_rate(per_second: float, unit: str) -> str:
    """`41 pages/s`, `2.5 steps/s`; a slow rate per minute or hour: `8.2 parts/h`."""
    for seconds, name in ((1, "s"), (60, "min"), (3600, "h")):
        rate = per_second * seconds
        if rate >= 0.95 or name == "h":
            break
    return f"{format_number(round(rate, 1) or rate)} {unit}/{name}"


def format_bytes(value: float) -> str:
    """`512 B`, `3.1 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{_digits(value)} {unit}"
        value /= 1024
    return f"{_digits(value)} TiB"


def format_seconds(value: float) -> str:
    """`0.4s`, `12s`, `4m 12s`, `2h 05m`, `3d 04h`."""
    if value < 9.95:
        return f"{value:.1f}s"
    seconds = round(value)
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m {seconds % 60:02d}s"
    if seconds < 86_400:
        return f"{seconds // 3600}h {seconds % 3600 // 60:02d}m"
    return f"{seconds // 86_400}d {seconds % 86_400 // 3600:02d}h"


def parse_bytes(text: str | int) -> int:
    """`64MiB`, `1.5 GB` or a number of bytes. Raises ValueError for anything else."""
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"\s*([0-9.]+)\s*([a-zA-Z]*)\s*", text)
    if not match or match[2].lower() not in _SIZES:
        raise ValueError(f"`{text}` is not a size; write for example `64MiB`")
    return int(float(match[1]) * _SIZES[match[2].lower()])


def _digits(value: float) -> str:
    """Three significant digits, but never an exponent."""
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"
