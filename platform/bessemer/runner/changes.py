"""Explains why a stage has no artifact to reuse, by the difference from the most similar artifact of its kind.

A fingerprint is one hash over the settings, the seed, the inputs, the versions and the files that a stage reads. Each
artifact stores these parts, so the parts that differ can be named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bessemer.artifacts.store import Artifact, Store
from bessemer.credentials import redact_all
from bessemer.fingerprint import fingerprint

NAME = "identity"
"""The key of an identity in a manifest's `extra`."""
_ABSENT = object()


def stored_identity(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a fingerprint as stored in a manifest: without passwords, and with one hash for all outside
    files."""
    outside = identity["outside"]
    return redact_all({**identity, "outside": None if outside is None else fingerprint(outside)})  # type: ignore[no-any-return]


def nearest_change(kind: str, identity: Mapping[str, Any], config: Mapping[str, Any], store: Store) -> str:
    """`changed: ...`, with the parts in which the most similar artifact of this kind differs.

    `config` has all settings of the stage, for comparison with artifacts of earlier versions, which store nothing else.
    """
    wanted = stored_identity(identity)
    best: list[str] | None = None
    for artifact in store.all():
        if artifact.manifest.stage == kind:
            changed = list(dict.fromkeys(_differences(artifact, wanted, config)))
            if best is None or len(changed) < len(best):
                best = changed
    if best is None:
        return "never made before"
    return f"changed: {', '.join(best)}" if best else "inputs or versions changed"


def _differences(artifact: Artifact, wanted: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    made = artifact.manifest.extra.get(NAME)
    if made is None:
        before = artifact.manifest.config
        yield from (f"`{name}`" for name in wanted["settings"] if before.get(name) != config.get(name))
        return
    before, now = _flat(made["settings"]), _flat(wanted["settings"])
    names = [name for name in {**now, **before} if before.get(name, _ABSENT) != now.get(name, _ABSENT)]
    # A mapping that was empty, or is empty now, differs along with its entries.
    yield from (f"`{name}`" for name in names if not any(other.startswith(f"{name}.") for other in names))
    if made["seed"] != wanted["seed"]:
        yield "`seed`"
    if made["outside"] != wanted["outside"]:
        yield "the files it reads"
    kinds = dict.fromkeys([*wanted["inputs"], *made["inputs"]])
    for name in (name for name in kinds if made["inputs"].get(name) != wanted["inputs"].get(name)):
        yield f"its input {name.partition('/')[0]}"
    if made["version"] != wanted["version"]:
        yield "the version of the stage"
    libraries = dict.fromkeys([*wanted["libraries"], *made["libraries"]])
    for name in (name for name in libraries if made["libraries"].get(name) != wanted["libraries"].get(name)):
        yield f"the version of {name}"
    if made.get("order") != wanted.get("order"):
        yield "the order of its inputs"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
