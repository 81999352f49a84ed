"""Tests that the catalog reads sources without importing them and lists each entry once, under its public name."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from bessemer.docsite.catalog import Entry, Package, read_distribution
from bessemer.errors import InputError

Install = Callable[[dict[str, str]], str]


def by_name(entries: dict[str, list[Entry]]) -> dict[str, Entry]:
    return {entry.qualified_name: entry for found in entries.values() for entry in found}


def test_reading_does_not_import(distribution: Install) -> None:
    source = """
        raise RuntimeError("imported")

        def visible(x):
            'Return what the caller gave to it.'
    """
    package = read_distribution(distribution({"examplepkg/__init__.py": source}))
    assert [entry.signature for entry in package.entries["examplepkg"]] == ["examplepkg.visible(x)"]
    assert "examplepkg" not in sys.modules
    assert (package.version, package.license, package.readme.strip()) == (
        "1.0",
        "MIT OR Apache-2.0",
        "A distribution for tests.",
    )


def test_an_entry_stands_once_under_the_shortest_name_that_exports_it(distribution: Install) -> None:
    files = {
        "examplepkg/__init__.py": """
            from os import path
            from ._deep.core import *
            from .shown import Shown as Renamed
        """,
        "examplepkg/_deep/__init__.py": "",
        "examplepkg/_deep/core.py": '''
            __all__ = ["exported"]
            def exported(a, b=1, *, c="x"):
                """Do the thing that everybody imports it for."""
            def not_exported():
                """Stay where it is and be seen by nobody."""
        ''',
        "examplepkg/shown.py": '''
            from ._deep.core import exported
            class Shown:
                """Something to be shown under two names."""
                def __init__(self, size, /, *parts, **options): ...
                def method(self, x):
                    """Return the method's answer to a question."""
                @property
                def attribute(self):
                    """The attribute that is read like a value."""
                @staticmethod
                def static(y):
                    """Return something without an instance."""
                def _private(self):
                    """Hidden from everybody who reads pages."""
        ''',
        "examplepkg/tests/__init__.py": '''
            def check():
                """Check that everything works as promised."""
        ''',
    }
    found = by_name(read_distribution(distribution(files)).entries)
    assert {name: entry.signature for name, entry in found.items()} == {
        "examplepkg.exported": "examplepkg.exported(a, b=1, *, c='x')",
        "examplepkg.Renamed": "class examplepkg.Renamed(size, /, *parts, **options)",
        "examplepkg.Renamed.method": "Renamed.method(x)",
        "examplepkg.Renamed.attribute": "Renamed.attribute",
        "examplepkg.Renamed.static": "Renamed.static(y)",
    }
    assert found["examplepkg.exported"].origin == "examplepkg._deep.core"


def test_docstrings_of_compiled_functions_are_found_where_they_are_given(distribution: Install) -> None:
    files = {
        "examplepkg/__init__.py": 'from ._compiled import array\nmean = _add_docstr(_C.mean, """\nmean(x) -> float\n\n'
        'Return the mean of all the elements.\n""")\n',
        "examplepkg/_compiled.py": "",
        "examplepkg/_example_docs.py": '''
            add_docstr(examplepkg.total, r"""
            total(input, *, out=None) -> Tensor

            Return the total of all {{}} elements.

            Args:
                {input}
            """.format(**common))
            add_newdoc("examplepkg._compiled", "array", """
                array(
                    object,
                    dtype=None,
                )

                Create an array from any sequence.
            """)
        ''',
    }
    found = by_name(read_distribution(distribution(files)).entries)
    assert {entry.signature: entry.doc.partition("\n")[0] for entry in found.values()} == {
        "examplepkg.total(input, *, out=None)": "Return the total of all {} elements.",
        "examplepkg.array(object, dtype=None)": "Create an array from any sequence.",
        "examplepkg.mean(x)": "Return the mean of all the elements.",
    }


def test_trivial_repeated_and_templated_docstrings_are_left_out(distribution: Install) -> None:
    source = '''
        def short():
            """Short."""
        def first():
            """Return the same text as another one."""
        def second():
            """Return the same text as another one."""
        def template():
            """Return the %(klass)s without its first element."""
        def _hidden():
            """Return what nobody is supposed to see."""
    '''
    found = by_name(read_distribution(distribution({"examplepkg/__init__.py": source})).entries)
    assert list(found) == ["examplepkg.first"]


def test_a_file_that_is_no_python_counts_as_empty(distribution: Install) -> None:
    files = {"examplepkg/__init__.py": '"""Fine."""\n', "examplepkg/broken.py": "def (\n", "examplepkg/null.py": "\0"}
    assert read_distribution(distribution(files)).entries == {}


def test_a_distribution_that_is_not_installed_is_an_error_that_names_it() -> None:
    with pytest.raises(InputError, match="`no-such-distribution`, which is not installed") as caught:
        read_distribution("no-such-distribution")
    assert "packages" in caught.value.hint


def test_the_standard_library_is_read_with_its_compiled_modules_and_the_language_reference(
    standard_library: Package,
) -> None:
    found = by_name(standard_library.entries)
    assert found["statistics.fmean"].signature == "statistics.fmean(data, weights=None)"
    assert found["statistics.fmean"].summary == "Convert data to floats and compute the arithmetic mean."
    assert found["math.gcd"].summary == "Greatest Common Divisor."
    assert found["builtins.str.split"].signature == "str.split(sep=None, maxsplit=-1)"
    assert "assert" in found["topics.assert"].doc
    assert not [entry.signature for entry in found.values() if " at 0x" in entry.signature]
