"""Recipes: YAML with line numbers, typed settings, overrides, and all problems at once."""
