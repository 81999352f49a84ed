"""Lists the public documentation of this Python installation: every documented object, under one name.

Problem: a function is reachable under several names (`scipy.stats.linregress` is defined in `scipy.stats._stats_py`).
A documentation site shows it once, under the name that people import.
Method: the catalog parses source files without importing them. It visits the public modules from the shortest name to
the longest and follows each exported name through imports to its definition. The first module that reaches a definition
owns it. The catalog leaves out docstrings that repeat another one, have a very short summary, or contain the
placeholders of a template.
Cost: 5 to 6 s of one core for the default packages, almost all of it in `ast.parse`.
"""

from __future__ import annotations

import ast
import re
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path

from bessemer.docsite import compiled
from bessemer.docsite.docstring import summary_of
from bessemer.docsite.source import ATTRIBUTE, CLASS, METHOD, README, TOPIC, Definition, Source, read
from bessemer.errors import InputError

STANDARD_LIBRARY, READMES = "library", "readmes"
SHARED_HOST = "packages.test"
OWN_HOST_BYTES = 1_000_000
"""A package with at least this much documentation gets its own site; the other packages share one."""
README_BYTES = 30_000
"""Maximum size of a README. The rest of a longer one is left out, because it is mostly a history of changes."""

SOURCE_BYTES = 6_000_000
"""Modules of a distribution are read in the order of their names' length, until their source exceeds this size.

PyTorch has 40 MB of source, most of it internals."""
SHORTEST_SUMMARY = 20

_NOT_DOCUMENTATION = {
    *("test", "tests", "testing", "conftest", "setup", "vendor", "vendored", "thirdparty", "externals", "extern"),
    *("idlelib", "lib2to3", "turtledemo", "pydoc_data", "ensurepip", "distutils", "encodings", "this", "antigravity"),
    *("benchmarks", "compat", "migrations", "locale", "site-packages", "dist-packages", "__main__"),
}
_TEMPLATE = re.compile(r"%\(\w+\)s|\{\w*(?:doc|klass|func|name)\w*\}")


@dataclass(frozen=True)
class Entry:
    """One documented object. `name` is the name inside its module: `fmean`, `NormalDist`, `NormalDist.pdf`."""

    module: str
    name: str
    kind: str
    arguments: str
    summary: str
    doc: str
    origin: str
    """The module whose file holds the definition."""

    @property
    def qualified_name(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def signature(self) -> str:
        """The signature on the page: `statistics.fmean(data, weights=None)`. Methods are shown without their module."""
        if self.kind in (TOPIC, README):
            return self.name
        shown = self.name if self.module == "builtins" or self.kind in (METHOD, ATTRIBUTE) else self.qualified_name
        return f"{'class ' if self.kind == CLASS else ''}{shown}{self.arguments}"


@dataclass(frozen=True)
class Package:
    """One distribution: its documented entries by public module, and its README."""

    name: str
    version: str
    license: str
    readme: str
    module_docs: dict[str, str]
    entries: dict[str, list[Entry]]

    @cached_property
    def host(self) -> str:
        """The host that shows the package: its own for a large package, the standard library and the READMEs."""
        size = sum(len(entry.doc) for entries in self.entries.values() for entry in entries)
        own = size >= OWN_HOST_BYTES or self.name in (STANDARD_LIBRARY, READMES)
        return f"{self.name.lower()}.test" if own else SHARED_HOST


def read_standard_library() -> Package:
    """Reads the standard library of the running interpreter."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    names = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    reader = _Reader(folder, sorted(name for name in names if _is_public(name)), compiled.PUBLIC)
    package = reader.package(STANDARD_LIBRARY, sysconfig.get_python_version(), "PSF-2.0", "")
    topics = _language_reference(folder / "pydoc_data" / "topics.py")
    return replace(package, entries=package.entries | {"topics": topics}) if topics else package


def _language_reference(path: Path) -> list[Entry]:
    """The chapters of the language reference that `help("topics")` shows."""
    if not path.is_file():
        return []
    statements = ast.parse(path.read_bytes()).body
    table = next((s.value for s in statements if isinstance(s, ast.Assign) and isinstance(s.value, ast.Dict)), None)
    texts = ast.literal_eval(table) if table else {}
    return [
        Entry("topics", name, TOPIC, "", text.strip().partition("\n")[0].replace('"', ""), text.strip(), "topics")
        for name, text in sorted(texts.items())
    ]


def gather_readmes(packages: Iterable[Package]) -> Package:
    """Collects the READMEs of `packages` into one more package."""
    entries = {}
    for package in packages:
        text = package.readme.strip()
        if len(text) > README_BYTES:
            text = text[:README_BYTES].rpartition("\n\n")[0]
        if text:
            entries[package.name] = [Entry(package.name, package.name, README, "", "", text, package.name)]
    return Package(READMES, "", "", "", {}, entries)


def read_distribution(name: str) -> Package:
    """Reads an installed distribution. Raises InputError if no distribution has that name."""
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise InputError(
            f"`packages` names `{name}`, which is not installed in this environment",
            hint=f"leave it out of `packages`, or `pip install {name}`",
        ) from error
    about = distribution.metadata.json
    reader = _Reader(Path(str(distribution.locate_file(""))), _top_levels(distribution))
    license, readme = str(about.get("license_expression", "")), str(about.get("description", ""))
    return reader.package(distribution.name, distribution.version, license, readme)


def _top_levels(distribution: metadata.Distribution) -> list[str]:
    """The importable top-level names of a distribution. If one is the distribution's name, only this one."""
    own = distribution.name.lower().replace("-", "_")
    files = [file for file in distribution.files or [] if file.suffix == ".py"]
    names = sorted({file.parts[0].removesuffix(".py") for file in files if len(file.parts) < 3})
    names = [name for name in names if name.isidentifier() and _is_public(name)]
    return [own] if own in names else names


def _is_public(name: str) -> bool:
    return not name.startswith("_") and name not in _NOT_DOCUMENTATION and not name.startswith(("test_", "conftest"))


class _Reader:
    """Follows the exported names of some top-level modules to their definitions."""

    def __init__(self, folder: Path, top_levels: list[str], compiled_modules: Iterable[str] = ()) -> None:
        self._folder = folder
        self._top_levels = top_levels
        self._compiled_modules = compiled_modules
        self._sources: dict[str, Source | None] = {}
        self._documented_elsewhere: dict[tuple[str, str], Definition] = {}
        self._num_bytes = 0

    def package(self, name: str, version: str, license: str, readme: str) -> Package:
        owners: dict[tuple[str, str], str] = {}
        module_docs: dict[str, str] = {}
        entries: dict[str, list[Entry]] = {}
        texts: set[str] = set()
        for path in self._docstring_files():
            self._read(path)
        for module in self._public_modules():
            if self._num_bytes > SOURCE_BYTES:
                break
            source = self._read(module)
            if source is None:
                continue
            module_docs[module] = source.doc
            for exported in sorted(set(self._exported(source))):
                found = self._resolve(module, exported, set())
                if found is None or (found[0], found[1].name) in owners:
                    continue
                owners[found[0], found[1].name] = module
                new = [e for e in _entries(module, exported, *found) if e.doc not in texts]
                texts.update(e.doc for e in new)
                entries.setdefault(module, []).extend(new)
        return Package(name, version, license, readme, module_docs, {m: e for m, e in entries.items() if e})

    def _public_modules(self) -> list[str]:
        """Modules and packages without a private part in their name, shortest names first."""
        found = [*self._compiled_modules]
        waiting = [*self._top_levels]
        while waiting:
            name = waiting.pop()
            path = self._locate(name)
            if path is None:
                continue
            found.append(name)
            if path.name == "__init__.py":
                children = {c.stem for c in path.parent.iterdir() if c.suffix == ".py" or (c / "__init__.py").is_file()}
                waiting += [f"{name}.{child}" for child in children if _is_public(child)]
        return sorted(found, key=lambda name: (name.count("."), name))

    def _docstring_files(self) -> list[str]:
        """Private modules that hold the docstrings of compiled functions, such as `torch._torch_docs`."""
        found = []
        for top in self._top_levels:
            folder = self._folder / top
            paths = [*folder.glob("_*docs.py"), *folder.glob("_*/_*docs.py")]
            found += [".".join(path.relative_to(self._folder).with_suffix("").parts) for path in paths]
        return sorted(found)

    def _locate(self, module: str) -> Path | None:
        base = self._folder.joinpath(*module.split("."))
        return next((p for p in (base / "__init__.py", base.with_suffix(".py")) if p.is_file()), None)

    def _read(self, module: str) -> Source | None:
        if module not in self._sources:
            path = self._locate(module)
            if path is not None and module not in self._compiled_modules:
                self._num_bytes += path.stat().st_size
                source = read(path, module)
                for owner, definition in source.documents_others:
                    self._documented_elsewhere.setdefault((owner, definition.name), definition)
                self._sources[module] = source
            else:
                self._sources[module] = compiled.read(module) if compiled.is_readable(module) else None
        return self._sources[module]

    def _exported(self, source: Source) -> list[str]:
        """The public names of a module: `__all__`, or its definitions; for a package also the names that it imports."""
        if source.exported is not None:
            return source.exported
        names = [*source.definitions]
        names += [name for (owner, name) in self._documented_elsewhere if owner == source.name]
        if source.is_package:
            top = source.name.partition(".")[0]
            names += [n for n, (origin, name) in source.imports.items() if name and origin.partition(".")[0] == top]
        if source.is_package or source.name in self._top_levels:
            for star in source.star_imports:
                starred = self._read(star)
                names += self._exported(starred) if starred and star != source.name else []
        return [name for name in names if not name.startswith("_")]

    def _resolve(self, module: str, name: str, seen: set[tuple[str, str]]) -> tuple[str, Definition] | None:
        """The definition behind `module.name`, and the module that holds it."""
        if (module, name) in seen:
            return None
        seen.add((module, name))
        source = self._read(module)
        elsewhere = self._documented_elsewhere.get((module, name))
        if source is None:
            return (module, elsewhere) if elsewhere else None
        definition = source.definitions.get(name)
        if definition is not None and (definition.doc or definition.members or not elsewhere):
            return module, definition
        if elsewhere is not None:
            return module, elsewhere
        if name in source.imports:
            origin, original = source.imports[name]
            return self._resolve(origin, original, seen) if original else None
        return next((found for star in source.star_imports if (found := self._resolve(star, name, seen))), None)


def _entries(module: str, name: str, origin: str, definition: Definition) -> Iterator[Entry]:
    yield from _entry(module, name, origin, definition)
    for member in definition.members:
        yield from _entry(module, f"{name}.{member.name}", origin, member)


def _entry(module: str, name: str, origin: str, definition: Definition) -> Iterator[Entry]:
    doc = definition.doc.strip()
    summary = summary_of(doc)
    if len(summary) >= SHORTEST_SUMMARY and " " in summary.strip() and not _TEMPLATE.search(doc):
        yield Entry(module, name, definition.kind, definition.arguments, summary, doc, origin)
