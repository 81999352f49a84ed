"""A Python function of the user's own, in a file that the recipe names."""

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
    """The SHA-256 of a file that has a function `name`. Nothing in it is run, so that a plan may ask.

    Raises InputError where there is no such file, where it is no Python, or where nothing in it has the name.
    """
    path = _existing(file, name)
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:  # ValueError: a null byte
        line = f" line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise InputError(f"`{path}`{line} is no Python: {reason}", hint="`file` names a Python file") from None
    names = _names(tree)
    if "*" not in names and name not in names:
        raise InputError(f"there is no function `{name}` in `{path}`", hint=nearest(name, names))
    return sha256_of([path])[0]


def load_function(file: str, name: str) -> Callable[..., Any]:
    """The function `name` of a file, which is run once per process and content.

    Raises InputError if the file or the function does not exist, and any error of the file itself. The module is in
    `sys.modules`, where `dataclasses` and `pickle` look it up, under a name that hides no other module.
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
        raise InputError(f"there is no function `{name}` in `{file}`", hint=nearest(name, names))
    return found


def _existing(file: str, name: str) -> Path:
    path = Path(file)
    if not path.is_file():
        raise InputError(
            f"there is no file `{path}`, in which the function `{name}` should be",
            hint="a relative `file` is looked for beside the recipe",
        )
    return path


SCOPES = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda,
    ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp,
)  # fmt: skip
"""What binds names of its own, which are none of the module's."""


def _names(module: ast.Module) -> set[str]:
    """What a module may bind itself; `*` where it imports whatever another has."""
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
