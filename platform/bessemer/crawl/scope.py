"""Decides which URLs belong to a crawl: a pure function of the URL and the settings, with a name for every refusal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache

from bessemer.crawl.urls import authority_of, host_of

MAX_URL_LENGTH = 2000
MAX_PATH_SEGMENTS = 25
MAX_SAME_PARAMETERS = 10
CALENDAR_YEARS = range(1900, 2050)

OUT_OF_SCOPE, EXCLUDED, FILE_TYPE, TRAP = "out_of_scope", "excluded", "file_type", "trap"

_REPEATED_PATH = re.compile(r"/(?!\d+/)((?:[^/]+/){1,5}?)\1\1")
_YEAR = re.compile(r"(?<!\d)(\d{4})(?!\d)")
_MEDIA_TYPES = {
    "application/pdf": "pdf",
    "application/epub+zip": "epub",
    "application/rss+xml": "rss atom",
    "application/json": "json jsonl geojson ipynb",
    "application/xml": "xsd xsl",
    "text/css": "css",
    "text/csv": "csv tsv",
    "image/*": "apng avif bmp cr2 eps gif heic ico jfif jpe jpeg jpg png psd raw svg tif tiff webp xcf",
    "audio/*": "aac aiff au flac m3u m4a mid midi mp3 oga ogg opus ra wav wma",
    "video/*": "3gp avi flv m2ts m4v mkv mov mp4 mpe mpeg mpg ogv qt swf ts vob webm wmv",
    "font/*": "eot otf ttf woff woff2",
    "application/octet-stream": (
        "7z apk appimage bin bz2 cab class deb dll dmg doc docm docx dot dotx exe gz hdf5 img iso jar lz4 mobi msi "
        "npy npz o odb odf odp ods odt parquet pkg pkl ppt pptx ps pt rar rpm safetensors so sqlite sqlite3 tar tgz "
        "torrent war whl wasm xls xlsm xlsx xpi xz zip zst"
    ),
}
_EXTENSIONS = {extension: kind for kind, names in _MEDIA_TYPES.items() for extension in names.split()}


class Scope:
    """`hosts` are names (`example.com`, `example.com:8080`) or `*.example.com` for all names below one; `include` and
    `exclude` are regular expressions searched for in the URL; `content_types` are media types or patterns (`text/*`).
    """

    def __init__(
        self, hosts: Iterable[str], include: Iterable[str], exclude: Iterable[str], content_types: Iterable[str]
    ) -> None:
        self._hosts = tuple(host.lower() for host in hosts)
        self._include = [re.compile(pattern) for pattern in include]
        self._exclude = [re.compile(pattern) for pattern in exclude]
        self._content_types = tuple(kind.lower() for kind in content_types)
        self._known_authority = lru_cache(maxsize=4096)(self._matches_host)

    def refusal(self, url: str, *, any_host: bool = False) -> str:
        """The name of the reason why a canonical URL is not part of the crawl; empty if it is part."""
        if len(url) > MAX_URL_LENGTH:
            return TRAP
        if not any_host and not self.has_host(url):
            return OUT_OF_SCOPE
        if any(pattern.search(url) for pattern in self._exclude):
            return EXCLUDED
        if self._include and not any(pattern.search(url) for pattern in self._include):
            return EXCLUDED
        if not self._may_be_page(url):
            return FILE_TYPE
        return TRAP if is_trap(url) else ""

    def has_host(self, url: str) -> bool:
        """Whether the host of a canonical URL is one of the crawl's."""
        return self._known_authority(authority_of(url))

    def accepts(self, content_type: str) -> bool:
        """Whether pages of this media type are kept."""
        return any(fnmatchcase(content_type, pattern) for pattern in self._content_types)

    def _matches_host(self, authority: str) -> bool:
        host = host_of(f"http://{authority}/")
        return any(
            host.endswith(pattern[1:]) if pattern.startswith("*.") else pattern in (host, authority)
            for pattern in self._hosts
        )

    def _may_be_page(self, url: str) -> bool:
        last = url.partition("?")[0].rpartition("/")[2]
        name, _, extension = last.rpartition(".")
        kind = _EXTENSIONS.get(extension.lower()) if name else None
        return kind is None or any(fnmatchcase(kind, p) or fnmatchcase(p, kind) for p in self._content_types)


def is_trap(url: str) -> bool:
    """Whether the URL is from an endless URL space: links that lengthen their own path or query, or endless
    calendars."""
    path, _, query = url.partition("://")[2].partition("?")
    if path.count("/") > MAX_PATH_SEGMENTS or _REPEATED_PATH.search(path):
        return True
    names = [part.partition("=")[0] for part in query.split("&")] if query else []
    if any(count > MAX_SAME_PARAMETERS for count in Counter(names).values()):
        return True
    years = _YEAR.findall(path + "?" + query) if "calendar" in url.lower() else []
    return bool(years) and all(int(year) not in CALENDAR_YEARS for year in years)
