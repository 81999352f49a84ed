"""Locations of files that a run uses."""

from __future__ import annotations

from pathlib import Path

from bessemer.recipe.recipe import LoadedRecipe


def storage_root(recipe: LoadedRecipe) -> Path:
    """The absolute storage path of a recipe."""
    return Path(recipe.settings.storage_path)
