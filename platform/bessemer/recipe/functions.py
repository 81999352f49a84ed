"""A Python function of the user's own, in a file that the recipe names."""

from __future__ import annotations

import ast
from pathlib import Path

from bessemer.errors import InputError
from bessemer.fingerprint import file_sha256
from bessemer.recipe.problems import nearest


def function_file(file: str, name: str) -> str:
    """The SHA-256 of a file that has a function `name`. Nothing in it is run, so that a plan may ask.

    Raises InputError where there is no such file, where it is no Python, or where nothing in it has the name.
    """
    path = Path(file)
    if not path.is_file():
        raise InputError(
            f"there is no file `{path}`, in which the function `{name}` should be",
            hint="a relative `file` is looked for beside the recipe",
        )
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:  # ValueError: a null byte
        line = f" line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise InputError(f"`{path}`{line} is no Python: {reason}", hint="`file` names a Python file") from None
    names = _names(tree)
    if "*" not in names and name not in names:
        raise InputError(f"there is no function `{name}` in `{path}`", hint=nearest(name, names))
    return file_sha256(path)


def _names(tree: ast.Module) -> set[str]:
    """What a module may bind; `*` where it imports whatever another has."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name)
    return found
