"""`bessemer doctor`: checks everything that a run needs, and suggests a fix for each problem."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from bessemer import __version__
from bessemer.credentials import redact
from bessemer.formatting import format_bytes

LIBRARIES = ("ray", "torch", "mlflow", "pyarrow", "tokenizers", "trafilatura", "pydantic")
LITTLE_DISK = 5 << 30
LITTLE_MEMORY = 4 << 30


@dataclass(frozen=True)
class Finding:
    """One line of the output: the mark (`ok`, `warn` or `error`), the item, the result, and a fix."""

    mark: str
    what: str
    found: str
    fix: str = ""


def examine(root: Path, model: str | None = None) -> list[Finding]:
    """Every check, in order. Imports torch and ray, so it takes a few seconds.

    Checks the chat template of `model` (a folder or a run's name), or else of the newest run with a model.
    """
    machine = [*_versions(), *_machine(root), *_accelerators(), *sandbox_protection()]
    return [*machine, *_ray(), *_tracking(root), *_chat(root, model)]


def _versions() -> Iterator[Finding]:
    yield Finding("ok", "bessemer", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    for name in LIBRARIES:
        try:
            yield Finding("ok", name, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding("error", name, "not installed", "install Bessemer again: `make setup`")


def _machine(root: Path) -> Iterator[Finding]:
    folder = next(p for p in (root, *root.parents) if p.exists())
    free = shutil.disk_usage(folder).free
    fix = "free some space: `bessemer gc`" if free < LITTLE_DISK else ""
    yield Finding("warn" if fix else "ok", "disk", f"{format_bytes(free)} free at {folder}", fix)
    try:
        with tempfile.TemporaryFile(dir=folder):
            yield Finding("ok", "storage_path", f"{root} can be written")
    except OSError as error:
        yield Finding("error", "storage_path", f"{root}: {error.strerror}", "set `storage_path` to a folder you own")
    memory = psutil.virtual_memory().available
    fix = "a quickstart needs 4 GiB; close something or use a larger machine" if memory < LITTLE_MEMORY else ""
    yield Finding("warn" if fix else "ok", "memory", f"{format_bytes(memory)} available, {os.cpu_count()} CPUs", fix)
    shared = shutil.disk_usage("/dev/shm").free if Path("/dev/shm").exists() else 0
    fix = "give the container more shared memory (`--shm-size=1g`)" if 0 < shared < (512 << 20) else ""
    yield Finding("warn" if fix else "ok", "shared memory", format_bytes(shared), fix)


def _accelerators() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            yield Finding("ok", f"GPU {index}", f"{properties.name}, {format_bytes(properties.total_memory)}")
        return
    from bessemer.model.hardware import choose_dtype

    fast = choose_dtype("auto", torch.device("cpu")) == torch.bfloat16
    yield Finding("ok", "accelerator", f"none; CPU {'with' if fast else 'without'} fast bfloat16 products")


def sandbox_protection() -> Iterator[Finding]:
    """The protection of this machine against programs that a model writes."""
    from bessemer.sandbox.protection import measure

    found = measure()
    fix = "run code tasks and `unit_tests` on Linux 5.13 or newer (x86-64 or ARM), or in a virtual machine"
    yield Finding("warn" if found.unprotected else "ok", "sandbox", found.describe(), fix if found.unprotected else "")


def _ray() -> Iterator[Finding]:
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        yield Finding("ok", "ray cluster", "none named; runs start Ray on this machine")
        return
    from bessemer.errors import ClusterUnreachable
    from bessemer.recipe.recipe import ClusterSettings
    from bessemer.runner.cluster import Cluster

    try:
        resources = Cluster(ClusterSettings(address=address)).start().cluster_resources()
        yield Finding(
            "ok", "ray cluster", f"{address}: {resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs"
        )
    except ClusterUnreachable as error:
        yield Finding("error", "ray cluster", error.message, error.hint)


def _tracking(root: Path) -> Iterator[Finding]:
    from bessemer.tracking import store

    uri = store.resolve_uri(None, root)
    yield Finding("ok", "mlflow", redact(uri))


_FIXES = {
    True: "correct the chat template (`tokenizer: {chat_template: FILE}` in the recipe), or use one such as ChatML",
    False: "an earlier answer whose prompt differs is context, not learned; put it into a separate row to learn it",
}
"""Advice for a failed check. The key says whether training needs the checked property."""


def _chat(root: Path, model: str | None) -> Iterator[Finding]:
    """Whether training, serving and other tools render conversations in the same way."""
    from bessemer import storage
    from bessemer.errors import InputError, UsageError
    from bessemer.runner.models import find_model
    from bessemer.tokens.chat import ChatTemplate
    from bessemer.tokens.template_checks import prove
    from bessemer.tokens.tokenizer import TokenizerFolder

    try:
        folder = find_model(root, model or "@last")
    except UsageError:
        if model is not None:
            raise
        yield Finding("ok", "chat template", "no model yet to look at")
        return
    mark = "error"
    try:
        found = (storage.read_foreign_json(folder / "generation_config.json") or {}).get("eos_token_id")
        ends = found if isinstance(found, list) else [] if found is None else [found]
        tokenizer = TokenizerFolder.open(folder)
        if not tokenizer.chat_templates:
            mark = "warn"  # a base model needs none
        template = ChatTemplate.of(tokenizer)
        claims = prove(template, ends)
    except InputError as error:
        yield Finding(mark, "chat template", error.message, error.hint)
        return
    if template.stop_ids[0] not in ends:
        yield Finding("ok", "chat template", f"`{folder}` was not tuned to answer: its texts end at documents' ends")
        claims = [claim for claim in claims if claim.what != "stop token"]
    for claim in claims:
        mark = "ok" if claim.holds else "error" if claim.needed else "warn"
        fix = "" if claim.holds else _FIXES[claim.needed]
        yield Finding(mark, f"chat: {claim.what}", claim.found, fix)
