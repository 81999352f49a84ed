"""Reads the documentation and the exports of one source file, without importing it.

`read` parses a file with `ast`. It keeps functions, classes and their methods with docstrings, the imports from which a
package re-exports names, and `__all__` if it is a literal. It also finds docstrings that a call assigns to an object,
such as `add_docstr(torch.abs, r\"\"\"...\"\"\")` in PyTorch or `add_newdoc("numpy", "array", \"\"\"...\"\"\")` in
NumPy. Cost: one second per 8 MB of source.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FUNCTION, CLASS, METHOD, ATTRIBUTE = "function", "class", "method", "attribute"
TOPIC, README = "topic", "readme"

_HIDDEN_DECORATORS = {"overload", "typing.overload"}
_ATTRIBUTE_DECORATORS = {"property", "cached_property", "functools.cached_property", "cache_readonly"}
_LONGEST_DEFAULT = 40  # characters; a longer default value is shown as `...`
_SIGNATURE_LINE = re.compile(r"[\w.]*?(\w+)\((.*)\)\s*(?:->\s*.+)?", re.DOTALL)


@dataclass(frozen=True)
class Definition:
    """A documented function, class, method or attribute. `arguments` is like `(data, weights=None)`, or empty."""

    name: str
    kind: str
    arguments: str
    doc: str
    members: tuple[Definition, ...] = ()


@dataclass
class Source:
    """One module. `imports` maps a name to (module, name in that module); the second is None for an imported module."""

    name: str
    doc: str = ""
    definitions: dict[str, Definition] = field(default_factory=dict)
    imports: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    star_imports: list[str] = field(default_factory=list)
    exported: list[str] | None = None
    """The names in `__all__`, or None if the module has none or computes a part of it."""
    is_package: bool = False
    documents_others: list[tuple[str, Definition]] = field(default_factory=list)
    """Docstrings for objects of other modules: (module, definition)."""


def read(path: Path, name: str) -> Source:
    """Reads the module `name` from the file `path`. A file that is not valid Python reads as empty."""
    source = Source(name, is_package=path.name == "__init__.py")
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return source
    source.doc = ast.get_docstring(tree) or ""
    for node in _statements(tree.body):
        _take(node, source)
    return source


def arguments_in(doc: str, name: str) -> tuple[str, str]:
    """Splits a docstring that starts with the object's signature into (arguments, the rest).

    Docstrings of compiled functions have this form. Other docstrings give ("", `doc`).
    """
    head, _, rest = doc.strip().partition("\n\n")
    match = _SIGNATURE_LINE.fullmatch(head.strip())
    if match is None or match[1] != name or len(head) > 400:
        return "", doc
    return f"({' '.join(match[2].split()).rstrip(',')})", inspect.cleandoc(rest)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, including those inside `if`, `try` and `with`."""
    for node in body:
        if isinstance(node, ast.If | ast.Try | ast.With):
            yield from _statements(node.body)
            yield from _statements(getattr(node, "orelse", []))
            for handler in getattr(node, "handlers", []):
                yield from _statements(handler.body)
        else:
            yield node


def _take(node: ast.stmt, source: Source) -> None:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            definition = _definition(node)
            if definition and (definition.doc or node.name not in source.definitions):
                source.definitions[node.name] = definition
        case ast.ImportFrom():
            origin = _origin(node, source)
            for alias in node.names:
                if alias.name == "*":
                    source.star_imports.append(origin)
                else:
                    source.imports.setdefault(alias.asname or alias.name, (origin, alias.name))
        case ast.Import():
            for alias in node.names:
                source.imports.setdefault(alias.asname or alias.name.partition(".")[0], (alias.name, None))
        case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.AnnAssign(target=ast.Name(id="__all__")):
            source.exported = _names(node.value)
        case ast.AugAssign(target=ast.Name(id="__all__")):
            source.exported = _extended(source.exported, _names(node.value))
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="__all__")), args=[argument])):
            source.exported = _extended(source.exported, _names(argument))
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call):
            _take_assigned_docstring(name, call, source)
        case ast.Expr(value=ast.Call() as call):
            _take_docstring_for_another(call, source)


def _origin(node: ast.ImportFrom, source: Source) -> str:
    """The absolute name of the module in `from ... import`."""
    if not node.level:
        return node.module or ""
    parts = source.name.split(".")
    parts = parts[: len(parts) - node.level + source.is_package]
    return ".".join([*parts, node.module] if node.module else parts)


def _names(value: ast.expr | None) -> list[str] | None:
    if isinstance(value, ast.List | ast.Tuple):
        names = [item.value for item in value.elts if isinstance(item, ast.Constant)]
        return [name for name in names if isinstance(name, str)] if len(names) == len(value.elts) else None
    return None


def _extended(names: list[str] | None, more: list[str] | None) -> list[str] | None:
    return None if names is None or more is None else names + more


def _definition(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, owner: str = "") -> Definition | None:
    decorators = {ast.unparse(d) for d in node.decorator_list if isinstance(d, ast.Name | ast.Attribute)}
    if decorators & _HIDDEN_DECORATORS:
        return None
    doc = ast.get_docstring(node) or ""
    if isinstance(node, ast.ClassDef):
        functions = [n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        found = [_definition(n, node.name) for n in functions if not n.name.startswith("_")]
        members = {member.name: member for member in found if member and member.doc}
        start = next((n for n in functions if n.name == "__init__"), None)
        arguments = _arguments(start.args, bound=True) if start else ""
        return Definition(node.name, CLASS, arguments, doc, tuple(members.values()))
    if decorators & _ATTRIBUTE_DECORATORS or any(d.endswith(".setter") for d in decorators):
        return Definition(node.name, ATTRIBUTE, "", doc)
    bound = bool(owner) and "staticmethod" not in decorators
    arguments = _arguments(node.args, bound=bound)
    if doc.startswith(f"{node.name}("):
        written, doc = arguments_in(doc, node.name)
        arguments = written or arguments
    return Definition(node.name, METHOD if owner else FUNCTION, arguments, doc)


def _arguments(arguments: ast.arguments, *, bound: bool) -> str:
    """`(data, weights=None)`: names and defaults without annotations; if `bound`, without the first argument."""
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    parts = [_argument(a, d) for a, d in zip(positional, [*defaults, *arguments.defaults], strict=True)]
    if arguments.posonlyargs:
        parts.insert(len(arguments.posonlyargs), "/")
    parts = parts[1:] if bound else parts
    if parts[:1] == ["/"]:
        parts = parts[1:]
    if arguments.vararg:
        parts.append(f"*{arguments.vararg.arg}")
    elif arguments.kwonlyargs:
        parts.append("*")
    parts += [_argument(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    if arguments.kwarg:
        parts.append(f"**{arguments.kwarg.arg}")
    return f"({', '.join(parts)})"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    if default is None:
        return argument.arg
    text = repr(default.value) if isinstance(default, ast.Constant) else ast.unparse(default)
    return f"{argument.arg}={text if len(text) <= _LONGEST_DEFAULT else '...'}"


def _take_assigned_docstring(name: str, call: ast.Call, source: Source) -> None:
    """Handles `cross = _add_docstr(_linalg.linalg_cross, r\"\"\"...\"\"\")`."""
    if _called(call).endswith("add_docstr") and len(call.args) == 2:
        source.definitions[name] = _compiled(name, _text(call.args[1]))


def _take_docstring_for_another(call: ast.Call, source: Source) -> None:
    """Handles `add_docstr(torch.abs, r\"\"\"...\"\"\")` and `add_newdoc("numpy._core", "array", \"\"\"...\"\"\")`."""
    called = _called(call)
    if called.endswith("add_docstr") and len(call.args) == 2:
        module, _, name = ast.unparse(call.args[0]).rpartition(".")
        source.documents_others.append((module, _compiled(name, _text(call.args[1]))))
    elif called.endswith("add_newdoc") and len(call.args) == 3:
        module, name = _text(call.args[0]), _text(call.args[1])
        if doc := _text(call.args[2]):
            source.documents_others.append((module, _compiled(name, doc)))


def _compiled(name: str, text: str) -> Definition:
    arguments, doc = arguments_in(inspect.cleandoc(text), name)
    return Definition(name, FUNCTION if arguments else CLASS, arguments, doc)


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _text(node: ast.expr) -> str:
    """The text of a string constant, a sum of them, or `"...".format()`; without lines that are one `{placeholder}`."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
        case ast.Call(func=ast.Attribute(value=value, attr="format")):
            text = re.sub(r"(?m)^\s*\{\w+\}\s*$\n?", "", _text(value))
            return text.replace("{{", "{").replace("}}", "}")
    return ""
