"""Chooses the documentation that becomes pages: collects entries into groups, then chooses groups up to the size limit.

A group is one directory of a site. All its pages fall into the same split. A group is a module or, if the module is too
large for one directory, a part of it: the entries from one source file, or a numbered slice of them. The size of groups
is bounded, so that no group dominates a split.

Choice: within a package, the largest group of every module comes first, then the second largest of every module, and so
on. Each package contributes the same share of its text; packages in `WEIGHTS` contribute more. The order of groups does
not depend on the size of the sites, so larger sites contain the groups of smaller ones, except at the limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from bessemer.docsite.catalog import READMES, STANDARD_LIBRARY, Entry, Package
from bessemer.docsite.source import CLASS

GROUP_BYTES = 66_000
PAGE_BYTES = 22_000
THIN_BYTES = 4_000
"""Groups with less text than this are left out, because their pages would be nearly empty."""
WEIGHTS = {STANDARD_LIBRARY: 2, READMES: 2}
"""Factors by which these packages contribute a larger share of their text; 1 for all others."""


@dataclass(frozen=True)
class Group:
    """A directory of a site with its pages. A page is a tuple of entries."""

    directory: str
    title: str
    package: Package
    doc: str
    pages: tuple[tuple[Entry, ...], ...]

    @property
    def host(self) -> str:
        return self.package.host

    @property
    def url(self) -> str:
        return f"http://{self.host}/{self.directory}/"

    @property
    def entries(self) -> list[Entry]:
        return [entry for page in self.pages for entry in page]

    @property
    def num_bytes(self) -> int:
        return len(self.doc) + sum(_size(entry) for entry in self.entries)

    @property
    def num_files(self) -> int:
        """Number of HTML files. A single page is its own index; several pages need one more file as their index."""
        return 1 if len(self.pages) < 2 else len(self.pages) + 1


def groups_of(package: Package) -> list[Group]:
    """The groups of a package with enough text for a directory, in the order in which a site takes them."""
    weight = WEIGHTS.get(package.name, 1)
    ranked: list[tuple[int, int, str, Group]] = []
    for module, entries in package.entries.items():
        groups = []
        for number, (part, members) in enumerate(_parts(module, entries)):
            title = f"{module}: {part}" if part else module
            doc = "" if number else package.module_docs.get(module, "")
            directory = slug(f"{module}/{part}" if part else module)
            groups.append(Group(directory, title, package, doc, tuple(_pages(members))))
        groups = sorted(
            (g for g in groups if g.num_bytes * weight >= THIN_BYTES), key=lambda g: (-g.num_bytes, g.directory)
        )
        ranked += [(turn, -group.num_bytes, group.directory, group) for turn, group in enumerate(groups)]
    return [group for *_, group in sorted(ranked, key=lambda item: item[:3])]


def choose(packages: Iterable[Sequence[Group]], max_files: int) -> list[Group]:
    """The groups to render: at most `max_files` files, with an equal share of every package, sorted by URL."""
    ranked: list[tuple[float, str, Group]] = []
    for groups in packages:
        total = sum(group.num_bytes for group in groups)
        weight = WEIGHTS.get(groups[0].package.name, 1) if groups else 1
        ends = accumulate(group.num_bytes for group in groups)
        ranked += [((end - g.num_bytes) / total / weight, g.directory, g) for end, g in zip(ends, groups, strict=True)]
    chosen, num_files = [], 0
    for _, _, group in sorted(ranked, key=lambda item: item[:2]):
        if num_files + group.num_files <= max_files:
            chosen.append(group)
            num_files += group.num_files
    return sorted(chosen, key=lambda group: group.url)


def slug(text: str) -> str:
    """A lower-case path that every file system treats alike."""
    return re.sub(r"[^a-z0-9./-]+", "-", text.lower()).strip("-.")


def _size(entry: Entry) -> int:
    return len(entry.doc) + len(entry.arguments) + len(entry.name)


def _parts(module: str, entries: list[Entry]) -> list[tuple[str, list[Entry]]]:
    """Splits a module into (name of the part, entries). The name is "" for a module that fits into one part.

    A larger module is split by the source file of its entries, and these parts into slices if they are too large.
    """
    entries = sorted(entries, key=lambda entry: (entry.name.partition(".")[0].lower(), entry.name))
    if sum(map(_size, entries)) <= GROUP_BYTES:
        return [("", entries)]
    by_origin: dict[str, list[Entry]] = {}
    for entry in entries:
        by_origin.setdefault(_part_name(module, entry.origin), []).append(entry)
    for part in [part for part, members in by_origin.items() if part and sum(map(_size, members)) < 2 * THIN_BYTES]:
        by_origin.setdefault("", []).extend(by_origin.pop(part))
    parts = []
    for part, members in sorted(by_origin.items()):
        slices = _packed(members, GROUP_BYTES)
        names = [part] if len(slices) == 1 else [f"{part or 'part'}-{n}" for n in range(1, len(slices) + 1)]
        parts += list(zip(names, slices, strict=True))
    return parts


def _part_name(module: str, origin: str) -> str:
    """`algorithms.cluster` for entries of `networkx` from `networkx.algorithms.cluster`; "" for its own entries."""
    names = [name.strip("_") for name in origin.removeprefix(module).split(".")]
    return ".".join(name for name in names if name and name != "core")


def _pages(entries: list[Entry]) -> list[tuple[Entry, ...]]:
    return [tuple(page) for page in _packed(entries, PAGE_BYTES)]


def _packed(entries: list[Entry], limit: int) -> list[list[Entry]]:
    """Splits entries into portions of about `limit` bytes. Keeps a class and its methods together where possible."""
    portions: list[list[Entry]] = []
    filled = 0
    for index, entry in enumerate(entries):
        size = _size(entry)
        if entry.kind == CLASS:
            members = [e for e in entries[index + 1 :] if e.name.startswith(f"{entry.name}.")]
            needed = size + sum(map(_size, members))
        else:
            needed = size
        if not portions or filled + size > limit or (filled + needed > limit and filled > 0.7 * limit):
            portions.append([])
            filled = 0
        portions[-1].append(entry)
        filled += size
    return portions
