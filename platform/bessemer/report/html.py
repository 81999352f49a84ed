"""Renders the report's HTML with Jinja.

Each section holds its template next to the function that collects its values. Jinja escapes every value that is not
`Markup`, so text from documents and models cannot become a tag or an attribute. `templates/macros.html` has the pieces
that sections share: `table` and `fold`. The filter `term` explains a word on hover.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from bessemer.formatting import format_bytes, format_count, format_number, format_seconds
from bessemer.report.glossary import term


def render(template: str, **values: Any) -> Markup:
    """Renders the source of a template. Raises jinja2.UndefinedError if the template uses an unknown name."""
    return Markup(_compiled(template).render(values))


def render_file(name: str, **values: Any) -> str:
    """Renders the file `templates/<name>`."""
    return _environment().get_template(name).render(values)


@cache
def _compiled(template: str) -> Template:
    return _environment().from_string(template)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (format_bytes, format_count, format_number, format_seconds):
        environment.globals[function.__name__] = function
    environment.filters["term"] = term
    macros = environment.get_template("macros.html").module
    environment.globals |= {name: macro for name, macro in vars(macros).items() if not name.startswith("_")}
    return environment
