"""Tests of groups: bounded sizes, each entry in one group, one directory per group, equal shares of packages."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bessemer.docsite.catalog import Entry, Package
from bessemer.docsite.groups import GROUP_BYTES, PAGE_BYTES, THIN_BYTES, choose, groups_of
from bessemer.docsite.source import CLASS, FUNCTION, METHOD

SIZES = st.lists(st.sampled_from([60, 700, 6_000, 30_000]), min_size=1, max_size=60)


def package(modules: dict[str, list[int]], name: str = "pkg") -> Package:
    entries = {}
    for module, sizes in modules.items():
        origins = [f"{module}._first", f"{module}._second", module]
        entries[module] = [_entry(module, n, size, origins[n * 3 // len(sizes)]) for n, size in enumerate(sizes)]
    return Package(name, "1.0", "MIT", "", dict.fromkeys(modules, "About it."), entries)


def _entry(module: str, number: int, size: int, origin: str) -> Entry:
    kind = (FUNCTION, CLASS, METHOD)[number % 3]
    name = f"Thing{number}" if kind != METHOD else f"Thing{number - 1}.method"
    return Entry(module, name, kind, "(x)", "What it does in a few words.", "d" * size, origin)


@given(SIZES, SIZES)
def test_every_entry_of_a_module_worth_showing_is_in_one_bounded_group(first: list[int], second: list[int]) -> None:
    found = package({"pkg.first": first, "pkg.second": second})
    groups = groups_of(found)
    shown = Counter(entry for group in groups for entry in group.entries)
    assert not shown or max(shown.values()) == 1
    for entries in found.entries.values():
        if sum(len(entry.doc) for entry in entries) >= GROUP_BYTES:
            thin = [entry for entry in entries if entry not in shown]
            assert sum(len(entry.doc) for entry in thin) < 3 * THIN_BYTES
    for group in groups:
        assert group.num_bytes >= THIN_BYTES
        assert group.num_bytes <= GROUP_BYTES + max(first + second) + 500
        for page in group.pages:
            assert len(page) == 1 or sum(len(entry.doc) for entry in page) <= PAGE_BYTES
    directories = [group.directory for group in groups]
    assert len(set(directories)) == len(directories)


@given(SIZES, SIZES, st.integers(0, 40), st.integers(0, 40))
def test_no_more_files_than_asked_for(first: list[int], second: list[int], few: int, more: int) -> None:
    packages = [groups_of(package({"a": first, "b": second})), groups_of(package({"c": second}, "other"))]
    for limit in (few, few + more):
        chosen = choose(packages, limit)
        assert sum(group.num_files for group in chosen) <= limit
        assert [group.url for group in chosen] == sorted(group.url for group in chosen)


def test_modules_come_in_turn_and_packages_by_their_share() -> None:
    one = groups_of(package({"a": [6_000] * 60, "b": [6_000] * 2, "c": [6_000]}, "one"))
    two = groups_of(package({"x": [6_000]}, "two"))
    assert [group.directory.partition("/")[0] for group in one[:3]] == ["a", "b", "c"]
    assert {group.package.name for group in choose([one, two], 6)} == {"one", "two"}
    assert choose([one, two, []], 10_000) == sorted(one + two, key=lambda group: group.url)


def test_a_page_of_one_class_and_its_methods_is_not_split_needlessly() -> None:
    entries = [_entry("m", 0, 17_000, "m"), _entry("m", 1, 4_000, "m"), _entry("m", 2, 9_000, "m")]
    (group,) = groups_of(Package("pkg", "1.0", "", "", {}, {"m": entries}))
    assert [[entry.name for entry in page] for page in group.pages] == [["Thing0"], ["Thing1", "Thing1.method"]]
