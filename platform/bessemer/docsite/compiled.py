"""Reads the docstrings of the standard library's compiled modules (`math`, `itertools`, `builtins`, ...).

Their docstrings are in no source file, so the modules are imported. Only modules that are listed here or built into
the interpreter are imported; they have no effect at import.
"""

from __future__ import annotations

import importlib
import inspect
import sys

from bessemer.docsite.source import ATTRIBUTE, CLASS, FUNCTION, METHOD, Definition, Source, arguments_in

PUBLIC = (
    *("array", "atexit", "binascii", "builtins", "cmath", "errno", "fcntl", "gc", "grp", "itertools", "marshal"),
    *("math", "mmap", "pwd", "resource", "select", "sys", "syslog", "termios", "time", "unicodedata", "zlib"),
)
"""Compiled modules that are documented under their own name, if the platform has them."""

_BEHIND_OTHERS = {"_socket", "_struct", "_datetime", "_pickle", "_json", "_bisect", "_heapq", "_random", "_statistics"}


def is_readable(module: str) -> bool:
    """Whether `module` is a compiled part of the standard library that may be imported to read its docstrings."""
    return module in PUBLIC or module in _BEHIND_OTHERS or module in sys.builtin_module_names


def read(name: str) -> Source:
    """Reads the compiled module `name`. The result is empty if the platform does not have the module.

    For a hook of `sys` that has been replaced, reads the original, which the interpreter keeps as `__<hook>__`.
    """
    source = Source(name)
    try:
        module = importlib.import_module(name)
    except ImportError:
        return source
    source.doc = inspect.getdoc(module) or ""
    for key, current in sorted(vars(module).items()):
        value = vars(module).get(f"__{key}__", current)
        if key.startswith("_") or inspect.ismodule(value):
            continue
        if inspect.isclass(value):
            members = (_definition(n, m, METHOD) for n, m in sorted(vars(value).items()) if not n.startswith("_"))
            source.definitions[key] = _definition(key, value, CLASS, tuple(m for m in members if m.doc))
        elif inspect.isroutine(value):
            source.definitions[key] = _definition(key, value, FUNCTION)
    return source


def _definition(name: str, value: object, kind: str, members: tuple[Definition, ...] = ()) -> Definition:
    text = getattr(value, "__doc__", None)
    found, doc = arguments_in(inspect.cleandoc(text), name) if isinstance(text, str) else ("", "")
    if kind == METHOD and not callable(value) and not isinstance(value, classmethod | staticmethod):
        return Definition(name, ATTRIBUTE, "", doc)
    return Definition(name, kind, _arguments(value) or found, doc, members)


def _arguments(value: object) -> str:
    """The arguments of a compiled function from `inspect`, in the same form as arguments read from source."""
    try:
        parameters = list(inspect.signature(value).parameters.values())  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return ""
    if parameters and parameters[0].name in ("self", "type"):
        parameters = parameters[1:]
    return str(inspect.Signature([p.replace(annotation=inspect.Parameter.empty) for p in parameters])).replace(
        " = ", "="
    )
