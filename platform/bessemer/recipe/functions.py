"""Custom Python functions: loads a function from a file that the recipe names."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from bessemer.errors import InputError
from bessemer.hashes import sha256_of
from bessemer.recipe.problems import nearest


def function_file(file: str, name: str) -> str:
    """The SHA-256 of a Python file that defines `name`. The file is parsed but not run, so it is safe in a plan.

    Raises InputError if the file does not exist, is not Python, or does not define the name.
    """
    path = _existing(file, name)
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:  # ValueError: a null byte
        line = f" line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise InputError(f"`{path}`{line} is not Python: {reason}", hint="set `file` to a Python file") from None
    names = _names(tree)
    if "*" not in names and name not in names:
        raise InputError(f"`{path}` does not define the function `{name}`", hint=nearest(name, names))
    return sha256_of([path])[0]


def load_function(file: str, name: str) -> Callable[..., Any]:
    """Returns the function `name` of a file. The file runs once per process and content.

    Raises InputError if the file or the function does not exist, and any error of the file itself. The module is added
    to `sys.modules` for `dataclasses` and `pickle`, under a name that no other module has.
    """
    return _load(file, name, _existing(file, name).read_bytes())


@cache
def _load(file: str, name: str, content: bytes) -> Callable[..., Any]:
    module = ModuleType(re.sub(r"\W", "_", file))
    module.__file__ = file
    sys.modules[module.__name__] = module
    exec(compile(content, file, "exec", dont_inherit=True), vars(module))
    found: Callable[..., Any] | None = getattr(module, name, None)
    if not callable(found):
        names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise InputError(f"`{file}` does not define the function `{name}`", hint=nearest(name, names))
    return found


def _existing(file: str, name: str) -> Path:
    path = Path(file)
    if not path.is_file():
        raise InputError(
            f"the file `{path}` of the function `{name}` does not exist",
            hint="check `file`: a relative path starts from the recipe's folder",
        )
    return path


SCOPES = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda,
    ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp,
)  # fmt: skip
"""Syntax nodes with their own scope. Names bound inside them are not names of the module."""


def _names(module: ast.Module) -> set[str]:
    """The names that a module may define, with `*` if it has an `import *`."""
    found = set()
    waiting: list[ast.AST] = [module]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, SCOPES):
            waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name)
    return found
