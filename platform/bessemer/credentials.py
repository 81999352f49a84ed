"""Removes passwords and tokens from text that is stored or shown.

Credentials are recognised by their place in a URL: the user information (`https://user:password@host`) and query
parameters with telling names (`?token=...`, a signed link of an object store). Other secrets are not recognised.
"""

from __future__ import annotations

import re
from typing import Any

MASK = "***"
_USER_INFORMATION = re.compile(r"(?i)\b([a-z][a-z0-9+.\-]*://)([^\s/?#'\"`<>]*)@(?=[^\s/?#'\"`<>@]*)")
_QUERY = re.compile(
    r"(?i)([?&;](?:[\w.\-]*(?:password|passwd|pwd|secret|token|credential|signature|api[_-]?key|access[_-]?key)[\w.\-]*"
    r"|sig|key)=)[^\s&;#'\"`<>]+"
)


def redact(text: str) -> str:
    """`text` with the password of every URL, and the values of secret query parameters, replaced by `***`.

    A user name without a password stays, unless the URL is HTTP: there it is usually a token.
    """
    return _QUERY.sub(rf"\1{MASK}", _USER_INFORMATION.sub(_without_password, text))


def redact_all(value: Any) -> Any:
    """`value` with `redact` applied to every text in nested dictionaries, lists and tuples; keys stay."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {name: redact_all(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(redact_all(item) for item in value)
    return value


def _without_password(match: re.Match[str]) -> str:
    scheme, information = match.groups()
    user, colon, _ = information.partition(":")
    if colon:
        return f"{scheme}{user}:{MASK}@"
    return f"{scheme}{MASK}@" if scheme.lower().startswith("http") else match.group()
