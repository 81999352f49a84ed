"""docsite: settings are checked, the fingerprint changes with the installed packages, the artifact is complete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from bessemer import storage
from bessemer.docsite.server import serve
from bessemer.errors import InputError
from bessemer.stages import docsite


def test_the_artifact_has_the_sites_and_can_be_served(
    make_artifact: Callable[..., Any], make_context: Callable[..., Any]
) -> None:
    draft, seal = make_artifact("site", "docsite")
    docsite.run(docsite.Config(packages=(), max_pages=100), {}, draft, make_context())
    site = seal()
    facts = storage.read_json(site.data / "site.json")
    assert facts["num_pages"] == draft.metrics["data/pages"] == len(list((site.data / "hosts").rglob("*.html")))
    assert facts["num_entries"] == draft.metrics["data/entries"] > 500
    with serve(site.data) as port:
        assert port > 0


def test_what_is_installed_is_part_of_the_fingerprint() -> None:
    found = docsite.outside(docsite.Config(packages=("click", "rich")))
    assert sorted(found["packages"]) == ["click", "rich"]
    assert found != docsite.outside(docsite.Config(packages=("click",)))


def test_every_package_of_the_default_is_installed_with_bessemer() -> None:
    docsite.outside(docsite.Config())


def test_mistakes_in_the_settings_are_named() -> None:
    with pytest.raises(ValidationError, match="`click` appears twice"):
        docsite.Config(packages=("click", "rich", "click"))
    with pytest.raises(ValidationError, match="greater than or equal to 100"):
        docsite.Config(max_pages=5)
    with pytest.raises(InputError, match="`no-such-package`, which is not installed"):
        docsite.outside(docsite.Config(packages=("no-such-package",)))
