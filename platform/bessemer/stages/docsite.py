"""docsite: renders the documentation in this Python installation as a few small web sites for `crawl`."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Any

from pydantic import Field, field_validator

from bessemer.errors import InputError
from bessemer.stages.base import Context, Draft, Inputs, Stage, StageConfig

PACKAGES = (
    *("numpy", "scipy", "pandas", "scikit-learn", "networkx", "torch", "pydantic", "click", "rich", "requests"),
    *("jinja2", "fsspec", "aiohttp", "flask", "pyarrow", "psutil", "attrs", "packaging", "tqdm", "python-dateutil"),
)
"""Distributions that every installation of Bessemer includes."""


class Config(StageConfig):
    packages: tuple[str, ...] = PACKAGES
    """Installed distributions to document in addition to the standard library."""
    max_pages: int = Field(1000, ge=100, le=10_000)
    """Maximum number of HTML pages over all sites; 1000 pages hold about 10 MB of text."""

    @field_validator("packages")
    @classmethod
    def _each_once(cls, packages: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in packages if packages.count(name) > 1})
        if twice:
            raise ValueError(f"`{twice[0]}` appears twice")
        return packages


def outside(config: Config) -> Any:
    """Returns the versions of the interpreter and of the documented distributions."""
    return {
        "python": f"{sys.implementation.name} {sys.version.split()[0]} {sys.platform}",
        "packages": {name: _version(name) for name in config.packages},
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError as error:
        raise InputError(
            f"`packages` names `{name}`, which is not installed in this environment",
            hint=f"remove it from `packages`, or run `pip install {name}`",
        ) from error


def run(config: Config, inputs: Inputs, draft: Draft, context: Context) -> None:
    from bessemer.docsite.sites import render

    sites = render(config.packages, config.max_pages)
    context.check_stop()
    sites.write(draft.data)
    context.log.info("%d pages on %d sites, %d entries", sites.num_pages, len(sites.hosts), len(sites.entries))
    draft.metrics["data/pages"] = sites.num_pages
    draft.metrics["data/entries"] = len(sites.entries)


STAGE = Stage(kind="docsite", version=2, config=Config, produces="site", run=run, outside=outside)
